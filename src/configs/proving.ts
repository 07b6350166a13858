/** Proves credentials, given or stored: the one place where configurations meet providers and the vault. */
import type { Transaction } from 'kysely'
import type { AnySource } from '../sources/registry.ts'
import type { EntityType, FieldFault } from '../sources/source.ts'
import { recordAudit } from '../store/audit.ts'
import { type ConfigRow, configsIn, type Proof } from '../store/configs.ts'
import { inTransaction } from '../store/database.ts'
import { openSecrets, placeOfConfig, sealSecrets, unsealAction } from '../store/envelopes.ts'
import type { Schema } from '../store/schema.ts'
import { readRequest } from '../validation/guarded-validation.ts'
import type { Report } from '../validation/report.ts'
import { VaultError } from '../vault/vault.ts'
import type { ConfigsParts } from './parts.ts'
import { ConfigRefusal, configNotFound, invalidRequest } from './refusal.ts'
import type { Requester } from './requester.ts'
import { packSecrets, type Secrets, unpackSecrets } from './secrets.ts'

export interface Candidate {
  readonly source: AnySource
  /** As given. */
  readonly domain: string
  readonly secrets: Secrets
  readonly require: readonly EntityType[]
}

export const refuseFaults = (faults: readonly FieldFault[]): ConfigRefusal => {
  const [first, ...rest] = faults.map(
    ({ field, expected }) => `data.attributes.${field}: expected ${expected}`,
  )
  return invalidRequest(first ?? 'data.attributes.secrets: not understood', ...rest)
}

/** Counts a validation of the target. Nothing can be asked about a malformed domain, so that there is nothing to limit. */
export async function countTarget(
  requester: Requester,
  { source, domain }: Pick<Candidate, 'source' | 'domain'>,
): Promise<void> {
  const canonical = source.readDomain(domain)
  if (canonical.ok) await requester.countTarget(source, canonical.domain)
}

/** Asks the provider, unless too much was guessed already; the report tells what came of it. */
export async function examine(
  { validation, onReport }: ConfigsParts,
  requester: Requester,
  { source, domain, secrets, require }: Candidate,
): Promise<Report> {
  const { organization, actor, signal, isUnattended = false } = requester
  await validation.turn()
  const asked = { organization, source, domain, secrets, actor, isUnattended }
  const read = await readRequest(validation, asked)
  if ('faults' in read) throw refuseFaults(read.faults)
  requester.hide(read.request.redact)
  const admission = await read.request.admit()
  if (!admission.isAdmitted) {
    const { reason, retryAfterSeconds } = admission
    throw new ConfigRefusal(
      reason === 'no_place'
        ? { kind: 'no_place', retryAfterSeconds }
        : { kind: 'attempts_spent', source: source.name, retryAfterSeconds },
    )
  }
  const report = await admission.run({ require, ...(signal && { signal }) })
  onReport(source, report)
  return report
}

/** @throws ConfigRefusal `not_proven` unless the verdict is valid; the attempt is in the audit trail. */
export async function prove(
  parts: ConfigsParts,
  requester: Requester,
  candidate: Candidate,
  attempt: { readonly action: string; readonly target?: string },
): Promise<Report> {
  const report = await examine(parts, requester, candidate)
  if (report.verdict === 'valid') return report
  await recordAudit(parts.database.query, requester.actor, {
    ...attempt,
    outcome: report.verdict === 'invalid' ? 'refused' : 'failed',
    details: {
      integration_type: candidate.source.integrationType,
      domain: report.subject.domain,
      causes: causesOf(report),
    },
  })
  throw new ConfigRefusal({ kind: 'not_proven', report })
}

/**
 * Opens the secrets of a configuration; empty for one that uses the operator's. Who, why and which is written to the
 * audit trail first, and secrets are handed out only when that is committed.
 */
export async function unseal(
  { database, vault, onTrouble }: Pick<ConfigsParts, 'database' | 'vault' | 'onTrouble'>,
  { organization, actor }: Pick<Requester, 'organization' | 'actor'>,
  id: string,
  reason: string,
): Promise<{ readonly row: ConfigRow; readonly secrets: Secrets }> {
  try {
    return await inTransaction(database, async (transaction) => {
      // Locked, so that row and envelope are of one revision.
      const row = await configsIn(transaction).lock(organization.id, id)
      if (row === undefined) throw configNotFound(id)
      const packed = await openSecrets(transaction, vault, placeOfConfig(row), actor, reason)
      return { row, secrets: unpackSecrets(packed ?? {}) }
    })
  } catch (error) {
    if (!(error instanceof VaultError)) throw error
    onTrouble(error)
    await recordAudit(database.query, actor, {
      action: unsealAction,
      target: id,
      outcome: 'failed',
      details: { reason, key_id: error.keyId },
    })
    throw new ConfigRefusal({ kind: 'sealed' })
  }
}

/** Seals secrets for a configuration, in place of those it had. */
export async function seal(
  { vault, onTrouble }: ConfigsParts,
  transaction: Transaction<Schema>,
  row: ConfigRow,
  secrets: Secrets,
): Promise<void> {
  try {
    await sealSecrets(transaction, vault, placeOfConfig(row), packSecrets(secrets))
  } catch (error) {
    if (!(error instanceof VaultError)) throw error
    onTrouble(error)
    throw new ConfigRefusal({ kind: 'sealed' })
  }
}

/** What a report changes in a row. A verdict that settles nothing leaves the state as it is. */
export function proofOf({ schedule, now }: ConfigsParts, report: Report, isEnabled: boolean): Proof {
  const at = now()
  const { nextValidationAt, credentialsExpireAt } = schedule(report, at)
  return {
    // What settles nothing tells nothing of the end either, and what was known of it stays.
    ...(report.verdict !== 'indeterminate' && { state: report.verdict, credentialsExpireAt }),
    report,
    validatedAt: at,
    nextValidationAt: isEnabled ? nextValidationAt : null,
  }
}

/** Codes of the causes that decided a verdict. */
export function causesOf({ checks, verdict }: Report): string[] {
  const deciding = verdict === 'invalid' ? 'failed' : 'unknown'
  return [
    ...new Set(
      checks
        .filter((check) => check.required && check.status === deciding)
        .flatMap((check) => check.cause?.code ?? []),
    ),
  ]
}
