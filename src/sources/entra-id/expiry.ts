/** Tells how long the credentials in use stay valid. */
import { SourceError } from '../../outbound/source-error.ts'
import type { Outcome } from '../source.ts'
import type { EntraCause } from './causes.ts'
import { type GraphObject, unusable } from './client.ts'
import { warn } from './outcomes.ts'
import { permissions } from './permissions.ts'
import type { Session } from './session.ts'
import { lifetimeOf } from './sound-credentials.ts'

/** Warnings about the end of the credentials, the most urgent first; days are whole ones from now. */
const expiryWarnings = [
  { days: 3, code: 'entra_expires_within_3_days' },
  { days: 14, code: 'entra_expires_within_14_days' },
  { days: 30, code: 'entra_expires_within_30_days' },
] as const satisfies readonly { days: number; code: EntraCause }[]

export async function checkExpiry(session: Session): Promise<Outcome> {
  const { proof } = session.sound()
  // The issuer of a federated token renews it by the minute; there is nothing to warn of.
  if (proof.kind === 'federated_token') return { status: 'skipped' }
  const endsAt =
    proof.kind === 'certificate'
      ? lifetimeOf(proof.certificate).notAfter
      : await secretEndsAt(session, proof.clientSecret)
  if (endsAt === undefined || Number.isNaN(endsAt.getTime())) return { status: 'skipped' }
  const daysLeft = (endsAt.getTime() - session.now().getTime()) / 86_400_000
  const due = expiryWarnings.find(({ days }) => daysLeft <= days)
  if (due === undefined) return { status: 'passed', credentialsExpireAt: endsAt }
  const credential = proof.kind === 'certificate' ? 'certificate' : 'client secret'
  return {
    status: 'passed',
    credentialsExpireAt: endsAt,
    warnings: [warn(due.code, { credential, date: endsAt.toISOString().slice(0, 10) })],
  }
}

/**
 * When the client secret in use ends, as the app registration tells; undefined when that is in another tenant.
 * Graph shows of each secret its first three characters (`hint`); where several fit, the first to end counts.
 *
 * @see https://learn.microsoft.com/graph/api/resources/passwordcredential
 */
async function secretEndsAt(session: Session, secret: string): Promise<Date | undefined> {
  const { clientId } = session.sound()
  const path = `/applications(appId='${encodeURIComponent(clientId)}')?$select=appId,passwordCredentials`
  let application: GraphObject
  try {
    application = await session.client().read('read application', path, [permissions.applications])
  } catch (error) {
    if (error instanceof SourceError && error.code === 'refused' && error.status === 404) return undefined
    throw error
  }
  if (!Array.isArray(application.passwordCredentials))
    throw unusable('read application', 'GET /v1.0/applications')
  const now = session.now().getTime()
  const living = application.passwordCredentials.flatMap((entry: unknown) => {
    const { hint, endDateTime } = (entry ?? {}) as { hint?: unknown; endDateTime?: unknown }
    const endsAt = typeof endDateTime === 'string' ? new Date(endDateTime) : undefined
    // The secret in use has just worked, so that an expired one is another.
    return endsAt !== undefined && endsAt.getTime() > now ? [{ hint, endsAt }] : []
  })
  const fitting = living.filter(
    ({ hint }) => typeof hint === 'string' && hint !== '' && secret.startsWith(hint),
  )
  const [first] = (fitting.length > 0 ? fitting : living).sort(
    (a, b) => a.endsAt.getTime() - b.endsAt.getTime(),
  )
  return first?.endsAt
}
