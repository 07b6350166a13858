/** The Admin SDK's Directory API: the part that reads an organisation. */
import { createHmac, randomBytes } from 'node:crypto'
import { largestCount } from '../directory.ts'
import type { SandboxAnswer, SandboxRequest } from '../provider.ts'
import { scopePrefix } from './accounts.ts'
import {
  apiRefusal,
  insufficientScope,
  invalid,
  invalidParameter,
  notAuthorized,
  notFound,
} from './errors.ts'
import { selectFields } from './fields.ts'
import {
  aliasDomain,
  customerId,
  domains,
  etagOf,
  groupId,
  isInSecondaryDomain,
  keyOfGroupId,
  type Organisation,
  type Privilege,
  parts,
  primaryDomain,
  roles,
  secondaryDomain,
  type Variety,
} from './organisation.ts'
import type { Grant } from './token-endpoint.ts'

type Json = Readonly<Record<string, unknown>>

interface Call {
  readonly request: SandboxRequest
  readonly query: URLSearchParams
  /** Parts of the path, unescaped. */
  readonly keys: readonly string[]
}

/** Stands for the organisation of the person acted for; a service account on its own has none. */
const ownCustomer = 'my_customer'

interface Route {
  readonly path: RegExp
  /** Any one of these scopes will do; a scope that may also write does as well. */
  readonly scopes: readonly string[]
  readonly privilege: Privilege
  answer(call: Call): Json
}

/** Days a page token of users is valid. @see https://developers.google.com/workspace/admin/directory/reference/rest/v1/users/list */
const pageTokenDays = 3

export function createDirectoryApi(organisation: Organisation, { isVaried = false }: Variety = {}) {
  const { directory } = organisation
  const pageKey = randomBytes(32)

  /** A page token belongs to its list: another list, or other parameters, do not take it. */
  const sealPage = (list: string, payload: string) =>
    createHmac('sha256', pageKey).update(`${list}\0${payload}`).digest('base64url').slice(0, 22)

  const pageToken = (list: string, at: number, now: Date, isAfterGap: boolean) => {
    const expiresAt = now.getTime() + pageTokenDays * 86_400_000
    const payload = Buffer.from(JSON.stringify([at, expiresAt, isAfterGap])).toString('base64url')
    return `${payload}${sealPage(list, payload)}`
  }

  const readPageToken = (list: string, token: string, now: Date): { at: number; isAfterGap: boolean } => {
    const payload = token.slice(0, -22)
    if (payload === '' || token.slice(-22) !== sealPage(list, payload))
      throw invalid('Invalid Input: pageToken')
    const [at, expiresAt, isAfterGap] = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
    if (expiresAt < now.getTime()) throw invalid('Invalid Input: pageToken')
    return { at, isAfterGap }
  }

  /**
   * One page of a list. `next` gives the item at or after a position and where to go on, or undefined at the end.
   */
  const page = (
    call: Call,
    list: {
      readonly kind: string
      readonly member: string
      readonly defaultSize: number
      readonly maxSize: number
      readonly isStrict?: boolean
    },
    next: (at: number) => { readonly item: Json; readonly after: number } | undefined,
  ): Json => {
    const { request, query } = call
    const size = pageSize(query, list)
    const name = listName(call)
    const token = query.get('pageToken')
    const from =
      token === null || token === '' ? { at: 0, isAfterGap: false } : readPageToken(name, token, request.now)
    const base = { kind: list.kind, etag: etagOf(name, from.at) }
    if (request.faults.has('empty_middle_page') && from.at > 0 && !from.isAfterGap)
      return { ...base, nextPageToken: pageToken(name, from.at, request.now, true) }

    const items: Json[] = []
    let at = from.at
    let found = next(at)
    while (found !== undefined && items.length < size) {
      items.push(found.item)
      at = found.after
      found = next(at)
    }
    const goesOn = found !== undefined
    const nextAt = request.faults.has('repeated_next_link') ? from.at : at
    return {
      ...base,
      ...(items.length > 0 && { [list.member]: items }),
      ...(goesOn && { nextPageToken: pageToken(name, nextAt, request.now, false) }),
    }
  }

  /** A list by index: `item` is undefined for what the list leaves out. */
  const byIndex = (count: number, item: (index: number) => Json | undefined) => (at: number) => {
    for (let index = at; index < count; index++) {
      const found = item(index)
      if (found !== undefined) return { item: found, after: index + 1 }
    }
    return undefined
  }

  const userAt = (index: number) => organisation.user(directory.person(index))

  const orders = new Map<string, { readonly sequence: number; readonly order: readonly number[] }>()
  /** Indexes in the order asked for; made once per order and change. */
  const orderOf = (query: URLSearchParams): readonly number[] | undefined => {
    const orderBy = query.get('orderBy')
    if (orderBy === null) return undefined
    if (orderBy !== 'email' && orderBy !== 'familyName' && orderBy !== 'givenName')
      throw invalidParameter(
        'orderBy',
        `Invalid string value: '${orderBy}'. Allowed values: [email, familyName, givenName]`,
      )
    const sortOrder = query.get('sortOrder') ?? 'ASCENDING'
    if (sortOrder !== 'ASCENDING' && sortOrder !== 'DESCENDING')
      throw invalidParameter(
        'sortOrder',
        `Invalid string value: '${sortOrder}'. Allowed values: [ASCENDING, DESCENDING]`,
      )
    const name = `${orderBy} ${sortOrder}`
    const known = orders.get(name)
    if (known?.sequence === directory.sequence) return known.order
    const keyed = Array.from({ length: directory.userCount }, (_, index) => {
      const person = directory.person(index)
      return { index, key: orderBy === 'email' ? organisation.emailOf(person) : person[orderBy] }
    })
    const sign = sortOrder === 'ASCENDING' ? 1 : -1
    keyed.sort((a, b) => sign * (a.key < b.key ? -1 : a.key > b.key ? 1 : a.index - b.index))
    const order = keyed.map(({ index }) => index)
    orders.set(name, { sequence: directory.sequence, order })
    return order
  }

  const listUsers = (call: Call): Json => {
    const { query } = call
    const isOfDomain = whose(query, (domain) => {
      if (domain === secondaryDomain) return isInSecondaryDomain
      return (index) => domain === primaryDomain && !isInSecondaryDomain(index)
    })
    oneOf(query, 'projection', ['basic', 'custom', 'full'])
    oneOf(query, 'viewType', ['admin_view', 'domain_public'])
    if (query.has('query')) throw invalid('Invalid Input: query')
    const order = orderOf(query)
    const isDeleted = query.get('showDeleted')?.toLowerCase() === 'true'
    const { now } = call.request
    return page(
      call,
      { kind: 'admin#directory#users', member: 'users', defaultSize: 100, maxSize: 500, isStrict: true },
      byIndex(directory.userCount, (position) => {
        const index = order?.[position] ?? position
        if (!isOfDomain(index)) return undefined
        if (isDeleted)
          return organisation.isDeleted(index, now)
            ? organisation.deletedUser(directory.person(index))
            : undefined
        return directory.hasPerson(index) ? userAt(index) : undefined
      }),
    )
  }

  const listGroups = (call: Call): Json => {
    const { query } = call
    const userKey = query.get('userKey')
    let isListed: (index: number) => boolean
    if (userKey === null) isListed = whose(query, (domain) => () => domain === primaryDomain)
    else {
      if (query.has('customer')) throw invalid('Invalid Input')
      const userIndex = organisation.findUser(userKey)
      if (userIndex === undefined) throw notFound('userKey')
      isListed = (index) => directory.isMember(index, userIndex)
    }
    return page(
      call,
      { kind: 'admin#directory#groups', member: 'groups', defaultSize: 200, maxSize: 200 },
      byIndex(directory.groupCount, (index) =>
        directory.hasGroup(index) && isListed(index) ? organisation.group(directory.group(index)) : undefined,
      ),
    )
  }

  const groupOf = (key: string | undefined): number => {
    const index = organisation.findGroup(keyOfGroupId(key ?? ''))
    if (index === undefined) throw notFound('groupKey')
    return index
  }

  /** The first member of each group owns it. */
  const ownerOf = (groupIndex: number) => directory.members(groupIndex, 0, 1)[0]

  const listMembers = (call: Call): Json => {
    const group = groupOf(call.keys[0])
    const { memberCount } = directory.group(group)
    const wanted = call.query.get('roles')?.split(',')
    const owner = ownerOf(group)
    const others = organisation.otherMembers(directory.group(group))
    let people: { readonly from: number; readonly indexes: readonly number[] } = { from: 0, indexes: [] }
    const personAt = (position: number): number | undefined => {
      if (people.indexes[position - people.from] === undefined)
        people = { from: position, indexes: directory.members(group, position, 201) }
      return people.indexes[position - people.from]
    }
    return page(
      call,
      { kind: 'admin#directory#members', member: 'members', defaultSize: 200, maxSize: 200 },
      byIndex(memberCount + others.length, (position) => {
        const index = position < memberCount ? personAt(position) : undefined
        const member =
          index === undefined
            ? others[position - memberCount]
            : organisation.member(directory.person(index), index === owner)
        if (member === undefined) return undefined
        return wanted === undefined || wanted.includes(member.role) ? { ...member } : undefined
      }),
    )
  }

  const memberOf = (call: Call) => {
    const group = groupOf(call.keys[0])
    const person = organisation.findUser(call.keys[1] ?? '')
    return { group, person, isMember: person !== undefined && directory.isMember(group, person) }
  }

  const chrome = (index: number) => {
    const device = directory.device(index)
    return device.platform === 'CHROMEOS' ? organisation.chromeDevice(device) : undefined
  }
  const mobile = (index: number) => {
    const device = directory.device(index)
    return device.platform === 'ANDROID' || device.platform === 'IOS'
      ? organisation.mobileDevice(device)
      : undefined
  }
  const findDevice = (id: string, idMember: string, deviceOf: (index: number) => Json | undefined): Json => {
    for (let index = 0; index < directory.deviceCount; index++) {
      const device = deviceOf(index)
      if (device?.[idMember] === id) return device
    }
    throw notFound('deviceId')
  }

  const domainJson = ({ name, isPrimary, verified }: (typeof domains)[number]) => ({
    kind: 'admin#directory#domain',
    etag: etagOf('domain', name),
    domainName: name,
    isPrimary,
    verified,
    creationTime: '1483963200000',
    ...(isPrimary && { domainAliases: [aliasJson] }),
  })
  const aliasJson = {
    kind: 'admin#directory#domainAlias',
    etag: etagOf('alias', aliasDomain),
    domainAliasName: aliasDomain,
    parentDomainName: primaryDomain,
    verified: true,
    creationTime: '1483963200000',
  }

  const assignment = (id: number, roleId: string | undefined, assignedTo: string, assigneeType: string) => ({
    kind: 'admin#directory#roleAssignment',
    etag: etagOf('assignment', id),
    roleAssignmentId: String(18_000_000_000_000 + id),
    roleId,
    assignedTo,
    assigneeType,
    scopeType: 'CUSTOMER',
  })
  /** The role that somebody has; whoever was deleted has none. */
  const assignmentOf = (index: number) => {
    const role =
      index === parts.super ? 0 : index === parts.reader ? 1 : organisation.isHelpDesk(index) ? 2 : -1
    return role >= 0 && directory.hasPerson(index)
      ? assignment(index, roles[role]?.roleId, userAt(index).id, 'USER')
      : undefined
  }
  /** A group that has a role, where the organisation is a varied one. */
  const groupAssignment = () =>
    isVaried && directory.hasGroup(0)
      ? assignment(largestCount, roles[2]?.roleId, groupId(directory.group(0)), 'GROUP')
      : undefined

  const routes: readonly Route[] = [
    route('users', 'users', ['admin.directory.user.readonly'], listUsers),
    route('users/*', 'users', ['admin.directory.user.readonly'], ({ keys, query }) => {
      oneOf(query, 'projection', ['basic', 'custom', 'full'])
      oneOf(query, 'viewType', ['admin_view', 'domain_public'])
      const index = organisation.findUser(keys[0] ?? '')
      if (index === undefined) throw notFound('userKey')
      return userAt(index)
    }),
    route('groups', 'groups', ['admin.directory.group.readonly'], listGroups),
    route('groups/*', 'groups', ['admin.directory.group.readonly'], ({ keys }) =>
      organisation.group(directory.group(groupOf(keys[0]))),
    ),
    route(
      'groups/*/members',
      'groups',
      ['admin.directory.group.member.readonly', 'admin.directory.group.readonly'],
      listMembers,
    ),
    route(
      'groups/*/members/*',
      'groups',
      ['admin.directory.group.member.readonly', 'admin.directory.group.readonly'],
      (call) => {
        const { group, person, isMember } = memberOf(call)
        if (person === undefined || !isMember) throw notFound('memberKey')
        return organisation.member(directory.person(person), person === ownerOf(group))
      },
    ),
    route(
      'groups/*/hasMember/*',
      'groups',
      ['admin.directory.group.member.readonly', 'admin.directory.group.readonly'],
      (call) => {
        const { person, isMember } = memberOf(call)
        if (person === undefined) throw invalid('Invalid Input: memberKey')
        return { isMember }
      },
    ),
    route('customers/*', 'domains', ['admin.directory.customer.readonly'], ({ keys }) => {
      checkCustomer(keys[0])
      return {
        kind: 'admin#directory#customer',
        id: customerId,
        etag: etagOf('customer'),
        customerDomain: primaryDomain,
        alternateEmail: 'owner@example.invalid',
        language: 'en',
        customerCreationTime: '2017-01-09T12:00:00.000Z',
      }
    }),
    route('customer/*/domains', 'domains', ['admin.directory.domain.readonly'], ({ keys }) => {
      checkCustomer(keys[0])
      return { kind: 'admin#directory#domains', etag: etagOf('domains'), domains: domains.map(domainJson) }
    }),
    route('customer/*/domains/*', 'domains', ['admin.directory.domain.readonly'], ({ keys }) => {
      checkCustomer(keys[0])
      const found = domains.find(({ name }) => name === keys[1]?.toLowerCase())
      if (found === undefined) throw notFound('domain')
      return domainJson(found)
    }),
    route('customer/*/domainaliases', 'domains', ['admin.directory.domain.readonly'], ({ keys }) => {
      checkCustomer(keys[0])
      return { kind: 'admin#directory#domainAliases', etag: etagOf('aliases'), domainAliases: [aliasJson] }
    }),
    route('customer/*/domainaliases/*', 'domains', ['admin.directory.domain.readonly'], ({ keys }) => {
      checkCustomer(keys[0])
      if (keys[1]?.toLowerCase() !== aliasDomain) throw notFound('domainAliasName')
      return aliasJson
    }),
    route('customer/*/roles', 'roles', ['admin.directory.rolemanagement.readonly'], (call) => {
      checkCustomer(call.keys[0])
      return page(
        call,
        { kind: 'admin#directory#roles', member: 'items', defaultSize: 100, maxSize: 100 },
        byIndex(roles.length, (index) => roles[index]),
      )
    }),
    route('customer/*/roleassignments', 'roles', ['admin.directory.rolemanagement.readonly'], (call) => {
      checkCustomer(call.keys[0])
      return page(
        call,
        { kind: 'admin#directory#roleAssignments', member: 'items', defaultSize: 200, maxSize: 200 },
        byIndex(directory.userCount + 1, (index) =>
          index < directory.userCount ? assignmentOf(index) : groupAssignment(),
        ),
      )
    }),
    route('customer/*/devices/chromeos', 'devices', ['admin.directory.device.chromeos.readonly'], (call) => {
      checkCustomer(call.keys[0])
      return page(
        call,
        {
          kind: 'admin#directory#chromeosdevices',
          member: 'chromeosdevices',
          defaultSize: 200,
          maxSize: 300,
        },
        byIndex(directory.deviceCount, chrome),
      )
    }),
    route(
      'customer/*/devices/chromeos/*',
      'devices',
      ['admin.directory.device.chromeos.readonly'],
      ({ keys }) => {
        checkCustomer(keys[0])
        return findDevice(keys[1] ?? '', 'deviceId', chrome)
      },
    ),
    route('customer/*/devices/mobile', 'devices', ['admin.directory.device.mobile.readonly'], (call) => {
      checkCustomer(call.keys[0])
      return page(
        call,
        { kind: 'admin#directory#mobiledevices', member: 'mobiledevices', defaultSize: 100, maxSize: 100 },
        byIndex(directory.deviceCount, mobile),
      )
    }),
    route(
      'customer/*/devices/mobile/*',
      'devices',
      ['admin.directory.device.mobile.readonly'],
      ({ keys }) => {
        checkCustomer(keys[0])
        return findDevice(keys[1] ?? '', 'resourceId', mobile)
      },
    ),
  ]

  return {
    handle(request: SandboxRequest, grant: Grant, ownPrivileges: readonly Privilege[]): SandboxAnswer {
      const path = request.url.pathname.replace(/^\/admin\/directory\/v1\//, '')
      const matched = routes
        .map((candidate) => ({ candidate, match: candidate.path.exec(path) }))
        .find(({ match }) => match !== null)
      if (matched?.match == null || request.method !== 'GET')
        throw apiRefusal(404, { reason: 'notFound', message: 'Not Found' })
      const { candidate, match } = matched
      checkScopes(candidate, grant)
      const privileges =
        grant.userIndex === undefined ? ownPrivileges : organisation.privilegesOf(grant.userIndex)
      if (!privileges.includes(candidate.privilege)) throw notAuthorized()
      const query = request.url.searchParams
      const keys = match.slice(1).map(unescapeKey)
      if (grant.userIndex === undefined && [query.get('customer'), ...keys].includes(ownCustomer))
        throw invalid('Invalid Input')
      const body = candidate.answer({ request, query, keys })
      const fields = query.get('fields')
      return {
        status: 200,
        headers: { 'cache-control': 'private', ...(typeof body.etag === 'string' && { etag: body.etag }) },
        body: fields === null || fields === '' ? body : selectFields(body, fields),
      }
    },
  }
}

function route(
  path: string,
  privilege: Privilege,
  scopes: readonly string[],
  answer: (call: Call) => Json,
): Route {
  return {
    path: new RegExp(`^${path.replaceAll('*', '([^/]+)')}$`),
    scopes: scopes.map((scope) => `${scopePrefix}${scope}`),
    privilege,
    answer,
  }
}

function checkScopes(wanted: Route, grant: Grant): void {
  const accepted = wanted.scopes.flatMap((scope) => [scope, scope.replace(/\.readonly$/, '')])
  if (!grant.scopes.some((scope) => accepted.includes(scope))) throw insufficientScope(accepted.join(' '))
}

function unescapeKey(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw apiRefusal(400, { reason: 'badRequest', message: 'Bad Request' })
  }
}

function checkCustomer(key: string | undefined): void {
  if (key !== ownCustomer && key !== customerId) throw invalid('Invalid Customer Id')
}

/** Whether an index belongs to the `customer` or `domain` that a list names: one of the two is mandatory. */
function whose(
  query: URLSearchParams,
  ofDomain: (domain: string) => (index: number) => boolean,
): (index: number) => boolean {
  const domain = query.get('domain')?.toLowerCase()
  const customer = query.get('customer')
  if (domain !== undefined) {
    if (!domains.some(({ name }) => name === domain))
      throw apiRefusal(404, { reason: 'notFound', message: 'Domain not found' })
    return ofDomain(domain)
  }
  if (customer === null) throw apiRefusal(400, { reason: 'badRequest', message: 'Bad Request' })
  checkCustomer(customer)
  return () => true
}

function oneOf(query: URLSearchParams, name: string, allowed: readonly string[]): void {
  const value = query.get(name)
  if (value !== null && !allowed.includes(value.toLowerCase()))
    throw invalidParameter(name, `Invalid string value: '${value}'. Allowed values: [${allowed.join(', ')}]`)
}

/** Users refuse sizes beyond their maximum; the other lists answer with the most they give. */
function pageSize(
  query: URLSearchParams,
  list: { readonly defaultSize: number; readonly maxSize: number; readonly isStrict?: boolean },
): number {
  const text = query.get('maxResults')
  if (text === null || text === '') return list.defaultSize
  const size = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  const isTooLarge = list.isStrict === true && size > list.maxSize
  if (Number.isNaN(size) || size < 1 || isTooLarge)
    throw invalidParameter(
      'maxResults',
      `Invalid value '${text}'. Values must be within the range: [1, ${list.maxSize}]`,
    )
  return Math.min(size, list.maxSize)
}

/** The list that a page token belongs to: its path and every parameter that decides what is in it. */
function listName({ request, query }: Call): string {
  const parameters = [...query]
    .filter(
      ([name]) =>
        !['pageToken', 'maxResults', 'fields', 'alt', 'prettyPrint', 'key', 'quotaUser'].includes(name),
    )
    .map(([name, value]) => `${name}=${value}`)
    .sort()
  return [request.url.pathname, ...parameters].join('\0')
}
