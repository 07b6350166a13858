/** Configurations: made, changed, proved and removed, each step whole or not at all. */
import { randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { Transaction } from 'kysely'
import { type AnySource, sourceByIntegrationType } from '../sources/registry.ts'
import { recordAudit } from '../store/audit.ts'
import { type ConfigRow, configsIn, findOwnerOfConfig } from '../store/configs.ts'
import { inTransaction } from '../store/database.ts'
import { shred } from '../store/envelopes.ts'
import type { Schema } from '../store/schema.ts'
import { databaseCode } from '../store/unavailable.ts'
import type { Report } from '../validation/report.ts'
import { type Activation, createActivation } from './activation.ts'
import type { ConfigsParts } from './parts.ts'
import {
  type Candidate,
  causesOf,
  countTarget,
  examine,
  proofOf,
  prove,
  refuseFaults,
  seal,
  unseal,
} from './proving.ts'
import { ConfigRefusal, canonicalDomain, configNotFound, invalidRequest } from './refusal.ts'
import { type EntraRegistrations, readEntraRegistrations } from './registrations.ts'
import { type Requester, systemRequester } from './requester.ts'
import { knownSecrets, maskedSecrets, type Secrets } from './secrets.ts'
import { readSettings, requiredBy, type Settings } from './settings.ts'
import { beginSyncing, endSyncing, followChange } from './syncing.ts'

export interface NewConfig {
  readonly integrationType: string
  readonly domain: string
  readonly name: string
  readonly secrets?: Secrets
  readonly settings?: Settings
}

/** What is absent stays as it is. */
export interface ConfigChanges {
  readonly integrationType?: string
  readonly domain?: string
  readonly name?: string
  readonly enabled?: boolean
  readonly secrets?: Secrets
  /** Takes the place of all settings there are. */
  readonly settings?: Settings
}

/** How a re-validation went. */
export type Revalidation =
  /** The configuration is gone or disabled. */
  | { readonly kind: 'not_wanted' }
  /** Others tried credentials on the same account too often, or validate all that may be validated at a time. */
  | { readonly kind: 'put_off'; readonly retryAfterSeconds: number }
  /** The secrets do not open; the trouble has been reported. */
  | { readonly kind: 'sealed' }
  | { readonly kind: 'done'; readonly verdict: Report['verdict'] }

/** How whoever has a configuration re-validated takes part in it. */
export interface RevalidationWatch {
  /** Ends a validation that is wanted no more. */
  readonly signal: AbortSignal
  /**
   * Told of the report in the transaction that keeps it, the configuration being locked. What it throws undoes all of
   * that, and is thrown on.
   */
  onReport(row: ConfigRow, report: Report, transaction: Transaction<Schema>): Promise<void>
}

/** Operations on configurations. Whatever a caller has to expect is thrown as ConfigRefusal. */
export interface Configs extends Activation {
  /** Proves the credentials, then stores them. */
  create(requester: Requester, wanted: NewConfig): Promise<ConfigRow>
  list(organizationId: string, types?: readonly [string, ...string[]]): Promise<ConfigRow[]>
  get(organizationId: string, id: string): Promise<ConfigRow>
  /** The last report, whatever its verdict. */
  report(organizationId: string, id: string): Promise<Readonly<Record<string, unknown>> | undefined>
  /** Proves what the change makes of the credentials, if it does anything with them, then stores it. */
  update(requester: Requester, id: string, changes: ConfigChanges): Promise<ConfigRow>
  /** Removes the configuration, and its secrets for good. */
  remove(requester: Requester, id: string): Promise<void>
  /** Validates the stored credentials; `state` follows a verdict that settles it. */
  validateStored(requester: Requester, id: string): Promise<Report>
  /** The app registrations of the operator that serve an organisation, and what it does with them. */
  entraRegistrations(organization: Requester['organization']): Promise<EntraRegistrations>
  /** Validates for the server's own reasons. */
  revalidate(id: string, reason: string, watch?: RevalidationWatch): Promise<Revalidation>
}

/** Most configurations of one organisation: a list is answered whole. */
const maxConfigs = 500

/** @see https://www.postgresql.org/docs/current/errcodes-appendix.html */
const uniqueViolation = '23505'

/** How often a change is proved anew because others changed what it builds on. */
const maxRounds = 20

export function createConfigs(parts: ConfigsParts): Configs {
  const { database, sources, onStateChange, now } = parts
  const onStored = () => parts.onStored?.()
  const stored = configsIn(database.query)

  const create: Configs['create'] = async (requester, wanted) => {
    const { organization, actor } = requester
    const source = sourceOf(wanted.integrationType)
    const { settings, instance, require } = readSettings(source, wanted.settings ?? {})
    const secrets = readSecrets(source, wanted.secrets)
    const canonical = source.readDomain(wanted.domain)
    const twin = { integration_type: source.integrationType, domain: '', instance }
    if (canonical.ok) {
      twin.domain = canonical.domain
      await refuseTwin(organization.id, twin)
      if ((await stored.count(organization.id)) >= maxConfigs)
        throw invalidRequest(`data: an organisation may have ${maxConfigs} configurations; remove some first`)
    }
    const candidate = { source, domain: wanted.domain, secrets, require }
    const attempt = { action: 'integration_config.create' }
    await countTarget(requester, candidate)
    const report = await prove(parts, requester, candidate, attempt)
    if (!canonical.ok) throw new Error('credentials were proved on a malformed domain')

    const made = await inTransaction(database, async (transaction) => {
      const configs = configsIn(transaction)
      const id = randomUUID()
      const row = await configs.insert(
        organization.id,
        { id, ...twin, name: wanted.name, settings },
        proofOf(parts, report, true),
      )
      if (row === undefined) return undefined
      if (Object.keys(secrets).length > 0) await seal(parts, transaction, row, secrets)
      await beginSyncing(transaction, row, now())
      await recordAudit(transaction, actor, {
        ...attempt,
        target: id,
        outcome: 'succeeded',
        details: { integration_type: row.integration_type, domain: row.domain, name: row.name },
      })
      await tellState(transaction, row, 'initializing', report)
      return row
    })
    if (made !== undefined) {
      onStored()
      return made
    }
    await refuseTwin(organization.id, twin)
    // Whoever was first has been removed since.
    throw new ConfigRefusal({ kind: 'contended' })
  }

  const update: Configs['update'] = async (requester, id, changes) => {
    const { organization, actor } = requester
    for (let round = 0; round < maxRounds; round += 1) {
      const seen = await stored.find(organization.id, id)
      if (seen === undefined) throw configNotFound(id)
      const plan = planOf(seen, changes)
      if (Object.keys(plan.change).length === 0 && !plan.needsProof) return seen
      const action = 'integration_config.update'
      if (plan.needsProof && round === 0) await countTarget(requester, plan)
      const candidate = plan.needsProof ? await candidateOf(requester, plan, seen) : undefined
      if (candidate === 'outdated') continue
      const report = candidate && (await prove(parts, requester, candidate, { action, target: id }))
      const done = await inTransaction(database, async (transaction) => {
        const configs = configsIn(transaction)
        const row = await configs.lock(organization.id, id)
        if (row === undefined) throw configNotFound(id)
        const current = planOf(row, changes)
        // What was proved is not what would be stored: others were faster.
        if (current.basis !== plan.basis) return undefined
        const isEnabled = changes.enabled ?? row.enabled
        const updated = await configs.update(
          organization.id,
          id,
          {
            ...current.change,
            isRevision: current.secrets !== undefined || current.isMoved,
            ...(report === undefined && nextValidation(row, isEnabled, current.isLowered)),
          },
          report && proofOf(parts, report, isEnabled),
        )
        if (current.secrets !== undefined) await seal(parts, transaction, updated, current.secrets)
        await followChange(transaction, row, updated, current.secrets !== undefined, now())
        await recordAudit(transaction, actor, {
          action,
          target: id,
          outcome: 'succeeded',
          details: differenceOf(row, updated, current.secrets !== undefined),
        })
        if (report !== undefined) await followState(transaction, requester, row, updated, report)
        return updated
      }).catch(async (error: unknown) => {
        if (databaseCode(error) !== uniqueViolation) throw error
        await refuseTwin(organization.id, { ...seen, ...plan.change }, id)
        return undefined
      })
      if (done !== undefined) {
        onStored()
        return done
      }
    }
    throw new ConfigRefusal({ kind: 'contended' })
  }

  /** A disabled configuration is left alone; one that is enabled again, or expects less, is looked at soon. */
  const nextValidation = (row: ConfigRow, isEnabled: boolean, isLowered: boolean) => {
    if (!isEnabled) return { nextValidationAt: null }
    return !row.enabled || isLowered ? { nextValidationAt: now() } : {}
  }

  /** What a change means for a configuration as it is now. @throws ConfigRefusal for what it may not mean */
  function planOf(row: ConfigRow, { integrationType, name, enabled, ...changes }: ConfigChanges) {
    const source = sourceOf(row.integration_type)
    if (integrationType !== undefined && integrationType !== row.integration_type)
      throw invalidRequest(
        `data.attributes.integration_type: expected ${row.integration_type}, which cannot be changed; make another configuration instead`,
      )
    const before = {
      settings: row.settings,
      instance: row.instance,
      require: requiredBy(source, row.settings),
    }
    const after = changes.settings === undefined ? before : readSettings(source, changes.settings)
    const domain = changes.domain === undefined ? row.domain : canonicalDomain(source, changes.domain)
    const given = changes.secrets === undefined ? {} : readSecrets(source, changes.secrets)
    const secrets = Object.keys(given).length === 0 ? undefined : given
    const isMoved = domain !== row.domain
    const isRaised = after.require.some((capability) => !before.require.includes(capability))
    const needsProof = changes.secrets !== undefined || isMoved || isRaised
    return {
      source,
      domain,
      /** New ones; undefined when the configuration goes on with what it has. */
      secrets,
      isMoved,
      isEmptied: changes.secrets !== undefined && secrets === undefined,
      require: after.require,
      needsProof,
      isLowered: !needsProof && after.require.join() !== before.require.join(),
      change: {
        ...(name !== undefined && { name }),
        ...(enabled !== undefined && { enabled }),
        ...(isMoved && { domain }),
        ...(changes.settings !== undefined && { settings: after.settings, instance: after.instance }),
      },
      /** Equal for two rows if what is proved for one is proved for the other. */
      basis: JSON.stringify(
        needsProof ? [domain, after.require, secrets === undefined ? row.revision : 'given'] : [],
      ),
    }
  }

  /**
   * The credentials to prove, unless others changed what the plan was made for. Stored secrets never meet a host that
   * they were not proved on, and none but whole new ones take their place.
   */
  async function candidateOf(
    requester: Requester,
    plan: ReturnType<typeof planOf>,
    { id, revision }: ConfigRow,
  ): Promise<Candidate | 'outdated'> {
    const { source, domain, secrets, require } = plan
    const candidate = (used: Secrets) => ({ source, domain, secrets: used, require })
    const hasOwn = await stored.hasSecrets(requester.organization.id, id)
    if (secrets === undefined) {
      if (hasOwn && (plan.isMoved || plan.isEmptied))
        throw invalidRequest(
          `data.attributes.secrets: expected complete new secrets${plan.isMoved ? ', as the stored ones are never sent to another domain' : '; leave the member out to keep the stored ones'}`,
        )
      if (!hasOwn) return candidate({})
      const opened = await unseal(parts, requester, id, 'update')
      // They may have been proved on another domain by now.
      return opened.row.revision === revision ? candidate(opened.secrets) : 'outdated'
    }
    const reading = source.readCredentials(secrets)
    if (!reading.ok) throw refuseFaults(reading.faults)
    if (hasOwn && source.operator?.needed(reading.credentials) === true) {
      const { secrets: before } = await unseal(parts, requester, id, 'update')
      const held = source.readCredentials(before)
      // A secret that is missing must not be taken for the wish to use the operator's.
      if (!held.ok || !source.operator.needed(held.credentials))
        throw invalidRequest(
          "data.attributes.secrets: expected complete new secrets; to use the operator's credentials, make another configuration",
        )
    }
    return candidate(secrets)
  }

  /** Validates what is stored and keeps the report, unless what was validated has been replaced meanwhile. */
  async function reexamine(
    requester: Requester,
    id: string,
    reason: string,
    onReport?: RevalidationWatch['onReport'],
  ): Promise<Report> {
    const { organization, signal } = requester
    const found = await stored.find(organization.id, id)
    if (found === undefined) throw configNotFound(id)
    const source = sourceOf(found.integration_type)
    await countTarget(requester, { source, domain: found.domain })
    const { row, secrets } = await unseal(parts, requester, id, reason)
    const require = requiredBy(source, row.settings)
    const report = await examine(parts, requester, { source, domain: row.domain, secrets, require })
    // Nobody waited for the end: what is unknown is our own doing.
    if (report.verdict === 'indeterminate' && signal?.aborted === true) return report
    await inTransaction(database, async (transaction) => {
      const configs = configsIn(transaction)
      const current = await configs.lock(organization.id, id)
      if (current?.revision !== row.revision) return
      if (requiredBy(source, current.settings).join() !== require.join()) return
      const updated = await configs.recordProof(
        organization.id,
        id,
        row.revision,
        proofOf(parts, report, current.enabled),
      )
      if (updated === undefined) return
      await onReport?.(updated, report, transaction)
      await followState(transaction, requester, current, updated, report)
    })
    return report
  }

  /** Tells of a change of state, if there is one. */
  async function followState(
    transaction: Transaction<Schema>,
    { actor }: Requester,
    before: ConfigRow,
    after: ConfigRow,
    report: Report,
  ): Promise<void> {
    if (before.state === after.state) return
    await recordAudit(transaction, actor, {
      action: 'integration_config.state',
      target: after.id,
      outcome: 'succeeded',
      details: { from: before.state, to: after.state, causes: causesOf(report) },
    })
    await tellState(transaction, after, before.state, report)
  }

  const tellState = (
    transaction: Transaction<Schema>,
    row: ConfigRow,
    from: ConfigRow['state'],
    report: Report,
  ) =>
    onStateChange(
      {
        configId: row.id,
        organizationId: row.organization_id,
        integrationType: row.integration_type,
        domain: row.domain,
        name: row.name,
        from,
        to: row.state,
        reason: report.verdict === 'valid' ? [] : causesOf(report),
        at: now(),
      },
      transaction,
    )

  function sourceOf(integrationType: string): AnySource {
    const source = sourceByIntegrationType(sources, integrationType)
    if (source === undefined)
      throw invalidRequest(
        `data.attributes.integration_type: expected one of ${sources.map((one) => one.integrationType).join(', ')}`,
      )
    return source
  }

  /** @throws ConfigRefusal when another configuration has this type, domain and instance */
  async function refuseTwin(
    organizationId: string,
    twin: Pick<ConfigRow, 'integration_type' | 'domain' | 'instance'>,
    except?: string,
  ): Promise<void> {
    const taken = await stored.findTwin(organizationId, twin)
    if (taken === undefined || taken.id === except) return
    throw new ConfigRefusal({
      kind: 'taken',
      by: taken.id,
      type: taken.integration_type,
      domain: taken.domain,
    })
  }

  return {
    create,
    update,
    list: stored.list,
    async get(organizationId, id) {
      const row = await stored.find(organizationId, id)
      if (row === undefined) throw configNotFound(id)
      return row
    },
    report: stored.findReport,
    async remove({ organization, actor }, id) {
      await inTransaction(database, async (transaction) => {
        const row = await configsIn(transaction).remove(organization.id, id)
        if (row === undefined) throw configNotFound(id)
        await shred(transaction, id)
        await endSyncing(transaction, row)
        await recordAudit(transaction, actor, {
          action: 'integration_config.delete',
          target: id,
          outcome: 'succeeded',
          details: { integration_type: row.integration_type, domain: row.domain, name: row.name },
        })
      })
      onStored()
    },
    async validateStored(requester, id) {
      const report = await reexamine(requester, id, 'validate')
      await recordAudit(database.query, requester.actor, {
        action: 'integration_config.validate',
        target: id,
        outcome: ({ valid: 'succeeded', invalid: 'refused', indeterminate: 'failed' } as const)[
          report.verdict
        ],
        details: { verdict: report.verdict, causes: causesOf(report) },
      })
      return report
    },
    async revalidate(id, reason, watch) {
      const organization = await findOwnerOfConfig(database.query, id)
      if (organization === undefined) return { kind: 'not_wanted' }
      const row = await stored.find(organization.id, id)
      if (row?.enabled !== true) return { kind: 'not_wanted' }
      try {
        const requester = { ...systemRequester(organization), ...(watch && { signal: watch.signal }) }
        const { verdict } = await reexamine(requester, id, reason, watch?.onReport)
        return { kind: 'done', verdict }
      } catch (error) {
        const refusal = error instanceof ConfigRefusal ? error.refusal : undefined
        if (refusal?.kind === 'config_not_found') return { kind: 'not_wanted' }
        if (refusal?.kind === 'sealed') return { kind: 'sealed' }
        if (refusal?.kind === 'attempts_spent' || refusal?.kind === 'no_place')
          return { kind: 'put_off', retryAfterSeconds: refusal.retryAfterSeconds }
        throw error
      }
    },
    entraRegistrations: (organization) => readEntraRegistrations(parts, organization),
    ...createActivation(parts, create),
  }
}

/** What a change has changed, not what it named, for the audit trail. */
function differenceOf(before: ConfigRow, after: ConfigRow, areSecretsNew: boolean) {
  const members = ['domain', 'enabled', 'name', 'settings'] as const
  const changed = members.filter((member) => !isDeepStrictEqual(before[member], after[member]))
  return {
    changed: [...changed, ...(areSecretsNew ? ['secrets'] : [])],
    ...(before.domain !== after.domain && { domain: { from: before.domain, to: after.domain } }),
    ...(before.enabled !== after.enabled && { enabled: after.enabled }),
    ...(before.name !== after.name && { name: { from: before.name, to: after.name } }),
  }
}

/** The secrets that the source knows. @throws ConfigRefusal when one of them is a mask */
function readSecrets(source: AnySource, given: Secrets | undefined): Secrets {
  const secrets = knownSecrets(source, given)
  const faults = maskedSecrets(source, secrets)
  if (faults.length > 0) throw refuseFaults(faults)
  return secrets
}
