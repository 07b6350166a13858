/** What the lists of one sync run share: tokens that last, and how the organisation is named. */
import { SourceError } from '../../outbound/source-error.ts'
import type { Json } from '../reading.ts'
import type { SourceTools, Target } from '../source.ts'
import { requestToken, type ScopeName, scopes } from './access.ts'
import {
  type DirectoryRequest,
  isText,
  itemsOf,
  type JsonObject,
  readDirectory,
  tokenOperation,
} from './client.ts'
import { openLastingTokens } from './lasting-tokens.ts'
import { canonicalDomain, type GoogleCredentials, readPrivateKey } from './secrets.ts'

/** One page of a list as Google has it. */
export interface ListRequest extends DirectoryRequest {
  readonly scope: ScopeName
  /** What `kind` says of the list, and the member that holds its items. */
  readonly kind: string
  /** What it says as well, where Google's reference and its answers differ. */
  readonly otherKind?: string
  readonly member: string
  /** Members of an item, as `fields` takes them. */
  readonly itemFields: string
}

export interface ListPage {
  readonly items: readonly JsonObject[]
  /** Token of the next page; absent at the end. */
  readonly next?: string
}

export interface GoogleReading {
  /**
   * Whose users and groups are read: the whole organisation's, or without an administrator those of the domain,
   * since Google then does not know whose organisation is meant.
   */
  readonly everybody: Readonly<Record<string, string>>
  now(): Date
  read(scope: ScopeName, request: DirectoryRequest): Promise<JsonObject>
  /**
   * One page; the first without a token.
   *
   * @throws SourceError refused with 400 when Google does not take the token any more: one of users is valid for three
   *   days, and then the list has to be read from its beginning.
   *   `unexpected_response` with the hint `page_token` when a page names itself as the next one
   * @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/users/list#query-parameters
   */
  page(list: ListRequest, token: Json | undefined): Promise<ListPage>
  /** How the organisation is named in paths. */
  customerKey(): Promise<string>
  /** Names of administrator roles by their ids. */
  roleNames(): Promise<ReadonlyMap<string, string>>
}

export function openReading(target: Target<GoogleCredentials>, tools: SourceTools): GoogleReading {
  const { credentials } = target
  const privateKey = readPrivateKey(credentials.text('private_key') ?? '')
  const email = credentials.text('client_email')
  const tokens = openLastingTokens(
    async (scope) => {
      if (!privateKey.ok || email === undefined)
        throw new SourceError({ code: 'not_configured', operation: tokenOperation })
      const account = { email, keyId: credentials.text('private_key_id'), key: privateKey.key }
      const only = scopes[scope]
      return requestToken(tools, account, credentials.adminEmail, only, { only_scope: only })
    },
    () => tools.now(),
  )

  const hasAdministrator = credentials.adminEmail !== undefined
  const everybody: Readonly<Record<string, string>> = hasAdministrator
    ? { customer: 'my_customer' }
    : { domain: canonicalDomain(target.domain) ?? '' }

  const read: GoogleReading['read'] = async (scope, request) => {
    const ask = (token: string) => readDirectory(tools.http, token, request, () => tools.now())
    const token = await tokens.take(scope)
    try {
      return await ask(token)
    } catch (error) {
      // A token may be revoked while it is under way; only the refusal of a second one says something.
      if (!(error instanceof SourceError) || error.code !== 'refused' || error.status !== 401) throw error
      return ask(await tokens.renew(scope, token))
    }
  }

  const page: GoogleReading['page'] = async (list, token) => {
    const { scope, member, itemFields } = list
    const request = {
      ...list,
      query: {
        ...list.query,
        fields: `kind,nextPageToken,${member}(${itemFields})`,
        ...(token !== undefined && { pageToken: String(token) }),
      },
    }
    const body = await read(scope, request)
    const { nextPageToken: next } = body
    const items = itemsOf(body, { ...list, texts: [] }, list.operation)
    if (next === undefined || next === '') return { items }
    if (typeof next !== 'string' || next.length > maxTokenLength || next === token) {
      throw new SourceError({
        code: 'unexpected_response',
        operation: list.operation,
        status: 200,
        hints: { page_token: next === token ? 'repeated' : 'malformed' },
      })
    }
    return { items, next }
  }

  const customerKey = once(async () => {
    if (hasAdministrator) return 'my_customer'
    const { items } = await page(
      {
        scope: 'users',
        operation: 'read users',
        about: 'domain',
        path: 'users',
        query: { ...everybody, maxResults: '1' },
        kind: 'admin#directory#users',
        member: 'users',
        itemFields: 'customerId',
      },
      undefined,
    )
    const id = items[0]?.customerId
    return isText(id) && /^\w{1,40}$/.test(id) ? id : 'my_customer'
  })

  const roleNames = once(async () => {
    const names = new Map<string, string>()
    let token: string | undefined
    for (let pages = 0; pages < maxRolePages; pages++) {
      const list: ListRequest = {
        scope: 'roles',
        operation: 'read administrator roles',
        about: 'customer',
        path: `customer/${await customerKey()}/roles`,
        query: { maxResults: '100' },
        kind: 'admin#directory#roles',
        member: 'items',
        itemFields: 'roleId,roleName',
      }
      const { items, next } = await page(list, token)
      for (const { roleId, roleName } of items)
        if (isText(roleId) && isText(roleName)) names.set(roleId, roleName)
      if (next === undefined) return names
      token = next
    }
    return names
  })

  return { everybody, now: () => tools.now(), read, page, customerKey, roleNames }
}

/** Google's own are below 1,000 characters; one that grows from page to page ends here. In characters. */
const maxTokenLength = 4096

/** An organisation has at most 750 custom roles, and pages hold 100. https://support.google.com/a/answer/2406043 */
const maxRolePages = 20

/** Asked for when it is first needed, and again after a failure. */
function once<V>(ask: () => Promise<V>): () => Promise<V> {
  let answer: Promise<V> | undefined
  return () => {
    answer ??= ask().catch((error: unknown) => {
      answer = undefined
      throw error
    })
    return answer
  }
}
