/** Proves that the tenant of the credentials owns the domain. */
import { cleanText } from '../../outbound/clean-text.ts'
import { SourceError } from '../../outbound/source-error.ts'
import type { Outcome } from '../source.ts'
import { refusalOf } from './aadsts.ts'
import { type GraphObject, unusable } from './client.ts'
import { fail } from './outcomes.ts'
import { permissions } from './permissions.ts'
import { isGuid } from './secrets.ts'
import type { Session } from './session.ts'

export async function proveOwnership(session: Session): Promise<Outcome> {
  if (!session.domain.ok) return { status: 'failed', cause: session.domain.diagnosis.cause }
  const { domain } = session.domain
  let organization: GraphObject
  try {
    organization = await readOrganization(session)
  } catch (error) {
    // Without permission for the organisation, or where it is not to be had, the public directory still tells whose
    // the domain is.
    const isWithheld =
      error instanceof SourceError &&
      ((error.code === 'refused' && error.status === 403) || error.status === 404)
    if (!isWithheld) throw error
    return proveOwnershipPublicly(session, domain)
  }
  const id = String(organization.id)
  const name = typeof organization.displayName === 'string' ? cleanText(organization.displayName, 100) : ''
  const named = name === '' ? id : `${name} (${id})`
  const owned = verifiedDomains(organization.verifiedDomains)
  if (owned === undefined) throw unusable('read organization', 'GET /v1.0/organization')
  const subject = { organization: named }
  if (owned.has(domain)) return { status: 'passed', subject }
  return { ...fail('entra_domain_not_verified', { domain, organization: named }), subject }
}

/** The tenant that the token belongs to, as Graph shows it. */
async function readOrganization(session: Session): Promise<GraphObject> {
  const { tenantId } = session.sound()
  const { claims } = await session.client().token()
  const wanted = claims?.tenantId ?? (isGuid(tenantId) ? tenantId : undefined)
  const list = await session
    .client()
    .list('read organization', '/organization?$select=id,displayName,verifiedDomains', [
      permissions.organization,
    ])
  const found = list.find(({ id }) => wanted === undefined || String(id).toLowerCase() === wanted)
  if (found === undefined) throw unusable('read organization', 'GET /v1.0/organization')
  return found
}

/** Host names in canonical form; Graph keeps the spelling in which a domain was added. */
function verifiedDomains(list: unknown): ReadonlySet<string> | undefined {
  if (!Array.isArray(list)) return undefined
  const names = list.flatMap((entry: unknown) => {
    const name = typeof entry === 'object' && entry !== null && 'name' in entry ? entry.name : undefined
    return typeof name === 'string' ? [name.toLowerCase()] : []
  })
  return new Set(names)
}

/**
 * Compares the tenant that Microsoft's discovery document names for the domain with the one of the token. It exists
 * for verified domains only.
 */
async function proveOwnershipPublicly(session: Session, domain: string): Promise<Outcome> {
  const { tenantId } = session.sound()
  const client = session.client()
  const { claims } = await client.token()
  const own =
    claims?.tenantId ?? (isGuid(tenantId) ? tenantId : (await client.tenantDocument(tenantId)).tenantId)
  const subject = { organization: own }
  try {
    const owner = await client.tenantDocument(domain)
    return owner.tenantId === own
      ? { status: 'passed', subject }
      : { ...fail('entra_domain_other_tenant', { domain, organization: own }), subject }
  } catch (error) {
    if (!(error instanceof SourceError && isTenantUnknown(error))) throw error
    const { status, providerCode: code, providerMessage: message } = error
    return {
      ...fail('entra_domain_not_verified', { domain, organization: own }),
      provider: {
        ...(status !== undefined && { status }),
        ...(code !== undefined && { code }),
        ...(message !== undefined && { message }),
      },
      subject,
    }
  }
}

function isTenantUnknown({ code, status, hints }: SourceError): boolean {
  if (code !== 'refused' || status !== 400) return false
  const refusal = typeof hints.aadsts === 'number' ? refusalOf(hints.aadsts) : undefined
  return hints.error === 'invalid_tenant' || refusal === 'tenant_not_found' || refusal === 'tenant_malformed'
}
