/** Proofs that the organisation whose directory is read has the domain. */
import { SourceError } from '../../outbound/source-error.ts'
import type { Outcome } from '../source.ts'
import { scopes } from './access.ts'
import { isObject, itemsOf } from './client.ts'
import { codeOf, isScopeRefusal, isUnknownToWhatAnswers } from './diagnosis.ts'
import { ended, missingScopes } from './outcome.ts'
import { type GoogleSession, listUsers } from './session.ts'

/** Ways to prove the ownership of a domain, best first. Each gives an outcome, or undefined when it cannot tell. */
const proofs: readonly {
  readonly scope: 'domains' | 'customer' | 'users'
  prove(session: GoogleSession, domain: string): Promise<Outcome | undefined>
}[] = [
  { scope: 'domains', prove: proveByDomain },
  { scope: 'customer', prove: proveByPrimaryDomain },
  { scope: 'users', prove: proveByUsers },
]

/** Whether a refusal leaves the next proof worth a try: it was about this way of asking, and not about the domain. */
function isAboutTheProof(error: SourceError): boolean {
  const code = codeOf(error)
  return (
    code === 'google_admin_not_authorized' ||
    code === 'google_scope_insufficient' ||
    isUnknownToWhatAnswers(error)
  )
}

/** Takes the best proof whose scope is delegated and whose read the administrator may make. */
export async function ownershipOf(session: GoogleSession, domain: string): Promise<Outcome> {
  const withoutToken: SourceError[] = []
  const withoutRight: SourceError[] = []
  // Without an administrator Google does not know whose domains are meant.
  const open = session.hasAdministrator ? proofs : proofs.slice(-1)
  for (const { scope, prove } of open) {
    try {
      await session.token(scope)
    } catch (error) {
      if (!(error instanceof SourceError)) throw error
      withoutToken.push(error)
      continue
    }
    try {
      const outcome = await prove(session, domain)
      if (outcome !== undefined) return outcome
    } catch (error) {
      if (!(error instanceof SourceError)) throw error
      if (!isAboutTheProof(error)) throw error
      withoutRight.push(error)
    }
  }
  const [setback] = [...withoutRight, ...withoutToken.filter((error) => !isScopeRefusal(error))]
  if (setback !== undefined) throw setback
  if (withoutToken.length < open.length) return ended(session, 'google_domain_unproved')
  return ended(session, 'google_scope_missing', {
    ...(withoutToken[0] !== undefined && { error: withoutToken[0] }),
    values: { scope: scopes.domains, missing: (await missingScopes(session)).join(', ') },
  })
}

const owns = (domain: string, organization?: string): Outcome => ({
  status: 'passed',
  subject: { domain, ...(organization !== undefined && { organization }) },
})

async function proveByDomain(session: GoogleSession, domain: string): Promise<Outcome | undefined> {
  try {
    return await verifiedOf(session, domain, 'domains', 'domainName')
  } catch (error) {
    if (isUnknownToWhatAnswers(error)) return proveByListOfDomains(session, domain)
    if (!isNoDomain(error)) throw error
    // Google keeps the aliases of domains in a list of their own.
    try {
      return await verifiedOf(session, domain, 'domainaliases', 'domainAliasName')
    } catch (thrown) {
      if (isNoDomain(thrown)) throw error
      if (!isUnknownToWhatAnswers(thrown)) throw thrown
      // The list of domains holds their aliases, too.
      return proveByListOfDomains(session, domain).catch((last: unknown) => {
        throw isUnknownToWhatAnswers(last) ? error : last
      })
    }
  }
}

const isNoDomain = (error: unknown) =>
  error instanceof SourceError && codeOf(error) === 'google_domain_not_owned'

/** @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/domains/list */
async function proveByListOfDomains(session: GoogleSession, domain: string): Promise<Outcome | undefined> {
  const operation = 'read the domains'
  const body = await session.read('domains', {
    operation,
    about: 'customer',
    path: 'customer/my_customer/domains',
    query: { fields: 'kind,domains(domainName,verified,domainAliases(domainAliasName,verified))' },
  })
  const list = { kind: 'admin#directory#domains', member: 'domains', texts: ['domainName'] }
  const entry = itemsOf(body, list, operation)
    .flatMap((item) => [item, ...(Array.isArray(item.domainAliases) ? item.domainAliases : [])])
    .filter(isObject)
    .find((item) => [item.domainName, item.domainAliasName].some((name) => isName(name, domain)))
  if (entry === undefined) return ended(session, 'google_domain_not_owned')
  return judged(session, domain, entry.verified)
}

const isName = (name: unknown, domain: string) => typeof name === 'string' && name.toLowerCase() === domain

/** Undefined where it is not said whether the domain was verified: another proof has to tell. */
function judged(session: GoogleSession, domain: string, verified: unknown): Outcome | undefined {
  if (typeof verified !== 'boolean') return undefined
  return verified ? owns(domain) : ended(session, 'google_domain_unverified')
}

async function verifiedOf(
  session: GoogleSession,
  domain: string,
  collection: 'domains' | 'domainaliases',
  nameMember: 'domainName' | 'domainAliasName',
): Promise<Outcome | undefined> {
  const operation = collection === 'domains' ? 'read the domain' : 'read the domain alias'
  const found = await session.read('domains', {
    operation,
    about: 'domain_entry',
    path: `customer/my_customer/${collection}/${encodeURIComponent(domain)}`,
    query: { fields: `kind,${nameMember},verified` },
  })
  if (!isName(found[nameMember], domain))
    throw new SourceError({ code: 'unexpected_response', operation, status: 200 })
  return judged(session, domain, found.verified)
}

/** The organisation shows its primary domain alone: another one is not disproved by it. */
async function proveByPrimaryDomain(session: GoogleSession, domain: string): Promise<Outcome | undefined> {
  const operation = 'read the organisation'
  const customer = await session.read('customer', {
    operation,
    about: 'customer',
    path: 'customers/my_customer',
    query: { fields: 'kind,id,customerDomain' },
  })
  if (typeof customer.customerDomain !== 'string')
    throw new SourceError({ code: 'unexpected_response', operation, status: 200 })
  return customer.customerDomain.toLowerCase() === domain ? owns(domain) : undefined
}

/** Google lists the users of a domain only to administrators of the organisation that has it. */
async function proveByUsers(session: GoogleSession, domain: string): Promise<Outcome | undefined> {
  try {
    const found = session.hasAdministrator
      ? await listUsers(session.read, { domain }, 'domain')
      : await session.firstUsers()
    const theirs = found.find(({ addresses }) =>
      addresses.some((address) => address.toLowerCase().endsWith(`@${domain}`)),
    )
    return theirs === undefined ? undefined : owns(domain, theirs.customerId)
  } catch (error) {
    if (!(error instanceof SourceError) || codeOf(error) !== 'google_admin_not_authorized') throw error
    if (!session.hasAdministrator) throw error
    // Google says "not authorized" both of foreign domains and of administrators without the privilege: if the
    // whole organisation can be read, it was the domain.
    await session.firstUsers()
    return ended(session, 'google_domain_not_owned', { error })
  }
}
