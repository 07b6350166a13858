/** Activation: one call that leaves exactly one active configuration of a type, however often it is made. */
import type { AnySource } from '../sources/registry.ts'
import { recordAudit } from '../store/audit.ts'
import { type ConfigRow, configsIn } from '../store/configs.ts'
import { inTransaction } from '../store/database.ts'
import type { Configs } from './configs.ts'
import type { ConfigsParts } from './parts.ts'
import { ConfigRefusal, canonicalDomain, invalidRequest } from './refusal.ts'
import type { Requester } from './requester.ts'
import { readSettings, type Settings } from './settings.ts'
import { beginSyncing, stopSyncing } from './syncing.ts'

export interface ActivationWishes {
  /** Absent or `default`: whichever there is. */
  readonly domain?: string
  /** Of a configuration that is made; an existing one keeps its own. */
  readonly name?: string
  readonly settings?: Settings
}

export interface Activation {
  /**
   * The configuration of a type, enabled; made from the operator's credentials where there is none.
   *
   * @param type as in addresses: `entra_id`
   */
  activate(requester: Requester, type: string, wishes: ActivationWishes): Promise<ConfigRow>
  /** Disables every configuration of a type; returns the first of them. */
  deactivate(requester: Requester, type: string): Promise<ConfigRow>
}

/** What a configuration is looked for by. */
interface Wanted {
  readonly domain: string | undefined
  readonly instance: string
}

export function createActivation(parts: ConfigsParts, create: Configs['create']): Activation {
  const { database, sources, operatorRegistrations, now } = parts
  /** Configurations being made: whoever asks for the same meanwhile gets the same. */
  const underWay = new Map<string, Making>()

  const activate: Activation['activate'] = async (
    requester,
    type,
    { domain: given, name, settings = {} },
  ) => {
    const source = sourceOf(type)
    const wanted = { domain: readDomain(source, given), instance: readSettings(source, settings).instance }
    const found = await enable(requester, source, wanted)
    if (found !== undefined) {
      parts.onStored?.()
      return found
    }

    const key = JSON.stringify([requester.organization.id, source.integrationType, wanted])
    const { signal, ...lasting } = requester
    const joined = underWay.get(key)
    if (joined?.isWanted()) return joined.join(signal)
    const making = beginMaking((wantedStill) =>
      make({ ...lasting, signal: wantedStill }, source, wanted, { name, settings }).finally(() => {
        if (underWay.get(key) === making) underWay.delete(key)
      }),
    )
    underWay.set(key, making)
    return making.join(signal)
  }

  /** Finds what is wanted, active ones first, and enables it. */
  const enable = ({ organization, actor }: Requester, source: AnySource, { domain, instance }: Wanted) =>
    inTransaction(database, async (transaction) => {
      const configs = configsIn(transaction)
      const fitting = (await configs.list(organization.id, [source.integrationType])).filter(
        (row) =>
          (domain === undefined || row.domain === domain) && (instance === '' || row.instance === instance),
      )
      const best =
        fitting.find((row) => row.enabled) ?? fitting.find((row) => row.instance === '') ?? fitting[0]
      if (best === undefined || best.enabled) return best
      const locked = await configs.lock(organization.id, best.id)
      if (locked === undefined || locked.enabled) return locked
      await recordAudit(transaction, actor, {
        action: 'integration_config.activate',
        target: best.id,
        outcome: 'succeeded',
      })
      await beginSyncing(transaction, locked, now())
      return configs.update(organization.id, best.id, {
        enabled: true,
        isRevision: false,
        nextValidationAt: now(),
      })
    })

  /** Makes a configuration from the operator's credentials. */
  async function make(
    requester: Requester,
    source: AnySource,
    { domain: wantedDomain, instance }: Wanted,
    { name, settings }: { readonly name: string | undefined; readonly settings: Settings },
  ): Promise<ConfigRow> {
    const nothing = (remedy: string) =>
      new ConfigRefusal({ kind: 'nothing_to_activate', type: source.integrationType, remedy })
    const reading = source.readCredentials(undefined)
    if (source.operator === undefined || !reading.ok || !source.operator.needed(reading.credentials))
      throw nothing('Create a configuration with its secrets first.')

    const domain = wantedDomain ?? onlyOne(await boundDomains(source.operator.key, requester))
    if (domain === undefined)
      throw nothing(
        `This server's operator has bound no domain to your organisation: ask for it, or create a configuration with secrets of your own.`,
      )
    try {
      return await create(requester, {
        integrationType: source.integrationType,
        domain,
        name: name ?? `${source.title} ${domain}`,
        settings,
      })
    } catch (error) {
      if (!(error instanceof ConfigRefusal) || error.refusal.kind !== 'taken') throw error
      const found = await enable(requester, source, { domain, instance })
      if (found === undefined) throw new ConfigRefusal({ kind: 'contended' })
      return found
    }
  }

  const boundDomains = async (key: string, { organization }: Requester) => [
    ...new Set((await operatorRegistrations(key, organization)).flatMap(({ domains }) => domains)),
  ]

  const deactivate: Activation['deactivate'] = async ({ organization, actor }, type) => {
    const source = sourceOf(type)
    return inTransaction(database, async (transaction) => {
      const configs = configsIn(transaction)
      const disabled = await configs.disableAll(organization.id, source.integrationType)
      await stopSyncing(transaction, disabled, now())
      for (const { id } of disabled)
        await recordAudit(transaction, actor, {
          action: 'integration_config.deactivate',
          target: id,
          outcome: 'succeeded',
        })
      const ids = new Set(disabled.map(({ id }) => id))
      const all = await configs.list(organization.id, [source.integrationType])
      const first = all.find(({ id }) => ids.has(id)) ?? all[0]
      if (first === undefined) throw new ConfigRefusal({ kind: 'none_of_type', type: source.integrationType })
      return first
    })
  }

  function sourceOf(type: string): AnySource {
    const source = sources.find(({ integrationType }) => integrationType.toLowerCase() === type)
    if (source === undefined) throw new ConfigRefusal({ kind: 'type_not_found', type })
    return source
  }

  return { activate, deactivate }
}

/** A configuration that is being made, and whoever waits for it. */
interface Making {
  isWanted(): boolean
  /** @param signal ends the waiting of this one; when nobody waits any longer, the making ends too */
  join(signal: AbortSignal | undefined): Promise<ConfigRow>
}

/** It must not end because the first of those who wait has gone. */
function beginMaking(make: (wantedStill: AbortSignal) => Promise<ConfigRow>): Making {
  const unwanted = new AbortController()
  const made = make(unwanted.signal)
  let waiting = 0
  return {
    isWanted: () => !unwanted.signal.aborted,
    join(signal) {
      waiting += 1
      const leave = () => {
        waiting -= 1
        if (waiting === 0) unwanted.abort()
      }
      if (signal?.aborted) leave()
      else signal?.addEventListener('abort', leave, { once: true })
      return made
    },
  }
}

/** What older clients send in place of a domain they do not know. */
const anyDomain = 'default'

function readDomain(source: AnySource, given: string | undefined): string | undefined {
  if (given === undefined || given === anyDomain) return undefined
  return canonicalDomain(source, given)
}

/** @throws ConfigRefusal when there are several to choose from */
function onlyOne(domains: readonly string[]): string | undefined {
  if (domains.length > 1)
    throw invalidRequest(`data.attributes.domain: expected one of ${domains.join(', ')}`)
  return domains[0]
}
