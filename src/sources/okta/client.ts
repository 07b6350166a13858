/** Asks Okta's API one thing at a time and reads the document that comes back. */
import type { HttpAnswer, HttpClient } from '../../outbound/http.ts'
import type { Access, Scope } from './access.ts'
import { askedOf, bodyOf, isRecord, isText, unexpected } from './answers.ts'
import { firstFilled, nextTargetIn } from './links.ts'

/** What an organisation tells everybody about itself. */
export interface Organization {
  readonly id: string
  /** Host of its okta.com address, in lower case; absent where Okta left the link out. */
  readonly canonicalHost: string | undefined
  /** Host of its custom domain, in lower case. */
  readonly customHost: string | undefined
}

/**
 * Needs no credentials.
 *
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/orgsettingmetadata
 */
export async function readOrganization(http: HttpClient, host: string): Promise<Organization> {
  const operation = 'look the organisation up'
  const path = '/.well-known/okta-organization'
  const answer = await http.request({
    operation,
    method: 'GET',
    url: `https://${host}${path}`,
    headers: { accept: 'application/json' },
  })
  const asked = `GET ${path}`
  const body = bodyOf({ answer }, operation, asked)
  if (!isRecord(body) || !isText(body.id)) throw unexpected(operation, asked)
  const links = isRecord(body._links) ? body._links : {}
  return {
    id: body.id,
    canonicalHost: hostOf(links.organization),
    customHost: hostOf(links.alternate),
  }
}

/** The host of a link; undefined when it is anything but an https address without port and user. */
function hostOf(link: unknown): string | undefined {
  if (!isRecord(link) || !isText(link.href)) return undefined
  return /^https:\/\/([a-z0-9.-]+)\/?$/i.exec(link.href)?.[1]?.toLowerCase()
}

/** How much of a rate limit was left after an answer. */
export interface RateLimit {
  readonly limit: number
  readonly remaining: number
}

export interface Api {
  readonly host: string
  readonly access: Access
  /** Told the rate limit of each answer to a list of users, the call that a sync makes most. */
  noteRateLimit(limit: RateLimit): void
}

/** A user as far as checks look at one. */
export interface OktaUser {
  readonly id: string
  readonly login: string | undefined
  /** Whether the answer says when they last signed in, `null` for never included. */
  readonly tellsLastLogin: boolean
}

/** Whose API token this is. */
export async function readOwner(api: Api): Promise<OktaUser> {
  const { body, fail } = await read(api, 'read the owner of the token', '/api/v1/users/me', 'okta.users.read')
  const user = userIn(body)
  if (user === undefined) throw fail()
  return user
}

/** One user at most, of those the credentials may see. Deprovisioned ones are left out without a filter. */
export async function readUsers(api: Api): Promise<readonly OktaUser[]> {
  return readSome(api, 'read users', '/api/v1/users?limit=1', 'okta.users.read', userIn, (answer) => {
    const limit = rateLimitIn(answer)
    if (limit !== undefined) api.noteRateLimit(limit)
  })
}

/** One group at most, of those the credentials may see; its id. */
export async function readGroups(api: Api): Promise<readonly string[]> {
  return readSome(api, 'read groups', '/api/v1/groups?limit=1', 'okta.groups.read', idIn)
}

/**
 * The organisation's own groups, `Everyone` first of all. Every organisation has it; an administrator of some groups
 * alone is not shown it.
 *
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/group/other/listgroups
 */
export async function readBuiltInGroups(api: Api): Promise<readonly string[]> {
  const path = `/api/v1/groups?${new URLSearchParams({ filter: 'type eq "BUILT_IN"', limit: '1' })}`
  return readSome(api, 'read built-in groups', path, 'okta.groups.read', idIn)
}

/** One member at most; an empty group has none. */
export async function readMembers(api: Api, groupId: string): Promise<readonly OktaUser[]> {
  const path = `/api/v1/groups/${encodeURIComponent(groupId)}/users?limit=1`
  const { body, fail } = await read(api, 'read the members of a group', path, 'okta.groups.read')
  return listOf(body, userIn, fail)
}

/** One user at most with an administrator's role. */
export async function readRoleAssignees(api: Api): Promise<readonly string[]> {
  const path = '/api/v1/iam/assignees/users?limit=1'
  const { body, fail } = await read(api, 'read who has administrator roles', path, 'okta.roles.read')
  return listOf(isRecord(body) ? body.value : undefined, idIn, fail)
}

export async function readDevices(api: Api): Promise<readonly string[]> {
  const { body, fail } = await read(api, 'read devices', '/api/v1/devices?limit=1', 'okta.devices.read')
  return listOf(body, idIn, fail)
}

export async function readApplications(api: Api): Promise<readonly string[]> {
  const { body, fail } = await read(api, 'read applications', '/api/v1/apps?limit=1', 'okta.apps.read')
  return listOf(body, idIn, fail)
}

/**
 * Of the last hour, so that little has to be looked through, and one event at most. An hour bears a clock of ours that
 * is ahead. Of all limits the log's is among the lowest, 20 requests a minute for the smallest organisations: a
 * validation takes one.
 *
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/systemlog
 * @see https://developer.okta.com/docs/reference/rl-global-mgmt/
 */
export async function readSystemLog(api: Api, now: Date): Promise<readonly string[]> {
  const since = new Date(now.getTime() - 3_600_000).toISOString()
  const path = `/api/v1/logs?${new URLSearchParams({ since, limit: '1' })}`
  const { body, fail } = await read(api, 'read the System Log', path, 'okta.logs.read')
  return listOf(body, (event) => (isRecord(event) ? textIn(event.uuid) : undefined), fail)
}

/** The factors that a user enrolled; their ids. */
export async function readFactors(api: Api, userId: string): Promise<readonly string[]> {
  const path = `/api/v1/users/${encodeURIComponent(userId)}/factors`
  const { body, fail } = await read(api, 'read the factors of a user', path, 'okta.users.read')
  return listOf(body, idIn, fail)
}

/** Types of the active roles of a user, or of a service app where `clientId` is given: `SUPER_ADMIN`. */
export async function readRoleTypes(
  api: Api,
  principal: { readonly userId: string } | { readonly clientId: string },
): Promise<readonly string[]> {
  const path =
    'userId' in principal
      ? `/api/v1/users/${encodeURIComponent(principal.userId)}/roles`
      : `/oauth2/v1/clients/${encodeURIComponent(principal.clientId)}/roles`
  const { body, fail } = await read(api, 'read the roles behind the credentials', path, 'okta.roles.read')
  return listOf(body, (role) => (isRecord(role) && isText(role.type) ? role : undefined), fail)
    .filter((role) => role.status !== 'INACTIVE')
    .map((role) => String(role.type))
}

export interface ApiToken {
  readonly name: string
  readonly expiresAt: Date | undefined
  /** `ANYWHERE`, `ZONE` or absent. */
  readonly connection: string | undefined
}

/** The API tokens of one user. Okta does not tell which of them a request came with. */
export async function readApiTokensOf(api: Api, userId: string): Promise<readonly ApiToken[]> {
  const { body, fail } = await read(
    api,
    'read the metadata of API tokens',
    '/api/v1/api-tokens',
    'okta.apiTokens.read',
  )
  return listOf(body, (token) => (isRecord(token) && isText(token.id) ? token : undefined), fail)
    .filter((token) => token.userId === userId)
    .map((token) => ({
      name: isText(token.name) ? token.name : '',
      expiresAt: timeIn(token.expiresAt),
      connection: textIn(isRecord(token.network) ? token.network.connection : undefined),
    }))
}

/** What the organisation's settings say of its future. */
export interface OrganizationStatus {
  readonly isActive: boolean
  /** When the organisation itself ends: a trial's last day. */
  readonly expiresAt: Date | undefined
}

export async function readOrganizationStatus(api: Api): Promise<OrganizationStatus> {
  const { body, fail } = await read(api, "read the organisation's settings", '/api/v1/org', 'okta.orgs.read')
  if (!isRecord(body) || !isText(body.id)) throw fail()
  return { isActive: body.status !== 'INACTIVE', expiresAt: timeIn(body.expiresAt) }
}

async function read({ host, access }: Api, operation: string, path: string, scope: Scope) {
  const asked = askedOf(path)
  const heard = await access.get({ operation, url: `https://${host}${path}`, scope })
  return {
    body: bodyOf(heard, operation, asked),
    answer: heard.answer,
    fail: () => unexpected(operation, asked),
  }
}

/**
 * What is at the beginning of a list whose emptiness says something: nothing of it only where the list has ended.
 *
 * @throws SourceError `unexpected_response` where page after page is empty and names a next one
 */
async function readSome<T>(
  api: Api,
  operation: string,
  path: string,
  scope: Scope,
  itemIn: (item: unknown) => T | undefined,
  note: (answer: HttpAnswer) => void = () => {},
): Promise<readonly T[]> {
  const { records, next } = await firstFilled(path, async (target) => {
    const { body, answer, fail } = await read(api, operation, target, scope)
    note(answer)
    const following = nextTargetIn(answer.headers, { operation, target }, api.host)
    return { records: listOf(body, itemIn, fail), ...(following !== undefined && { next: following }) }
  })
  if (records.length === 0 && next !== undefined) throw unexpected(operation, askedOf(path))
  return records
}

/** Each item of a list read; a body that is no list, or an item that cannot be read, is no answer of Okta. */
function listOf<T>(body: unknown, read: (item: unknown) => T | undefined, fail: () => Error): readonly T[] {
  if (!Array.isArray(body)) throw fail()
  return body.map((item) => {
    const value = read(item)
    if (value === undefined) throw fail()
    return value
  })
}

const idIn = (item: unknown) => (isRecord(item) && isText(item.id) ? item.id : undefined)

function userIn(item: unknown): OktaUser | undefined {
  if (!isRecord(item) || !isText(item.id)) return undefined
  const profile = isRecord(item.profile) ? item.profile : {}
  return { id: item.id, login: textIn(profile.login), tellsLastLogin: 'lastLogin' in item }
}

const textIn = (value: unknown) => (isText(value) ? value : undefined)

function timeIn(value: unknown): Date | undefined {
  const time = isText(value) ? Date.parse(value) : Number.NaN
  return Number.isNaN(time) ? undefined : new Date(time)
}

/** @see https://developer.okta.com/docs/reference/rl2-monitor/ */
function rateLimitIn({ headers }: HttpAnswer): RateLimit | undefined {
  const limit = wholeNumber(headers.get('x-rate-limit-limit'))
  const remaining = wholeNumber(headers.get('x-rate-limit-remaining'))
  return limit === undefined || remaining === undefined ? undefined : { limit, remaining }
}

const wholeNumber = (text: string | null) =>
  text !== null && /^\d{1,9}$/.test(text) ? Number(text) : undefined
