/** The organisation's API: who asks, what they may see, and the documents of each route. */
import type { LivingDirectory } from '../living-directory.ts'
import type { SandboxAnswer, SandboxRequest } from '../provider.ts'
import type { Document, Documents } from './documents.ts'
import { apiError, challenge, refuse } from './errors.ts'
import { readFields, readFilter } from './filter.ts'
import { byCandidates, byIndex, type Listing, nextUrl, type Pager } from './paging.ts'
import type { ApiTokenRecord, Role, ServiceApp } from './principals.ts'
import type { ProofVerifier } from './proofs.ts'
import type { SystemLog } from './system-log.ts'
import type { TokenEndpoint } from './token-endpoint.ts'

export interface ApiOptions {
  readonly host: string
  readonly organizationId: string
  readonly documents: Documents
  readonly pager: Pager
  readonly log: SystemLog
  /** How many people are administrators besides those who made the tokens: the last ones the organisation was made with. */
  readonly administrators: number
  readonly tokens: readonly ApiTokenRecord[]
  readonly apps: readonly ServiceApp[]
  readonly tokenEndpoint: TokenEndpoint
  readonly proofs: ProofVerifier
  /** Classic Engine has no devices. */
  readonly isClassic: boolean
  readonly expiresAt: Date | undefined
}

interface Caller {
  readonly role: Role
  /** The person whose API token it is. */
  readonly ownerIndex: number | undefined
}

interface Route {
  readonly method: 'GET' | 'DELETE'
  readonly pattern: RegExp
  readonly scope: string
  /** Administrators of some groups alone, and apps without a role, are refused where this is set. */
  readonly roles?: readonly Role[]
  handle(call: Call): SandboxAnswer
}

interface Call {
  readonly request: SandboxRequest
  readonly caller: Caller
  /** What the parentheses of the route's pattern hold. */
  readonly id: string
}

const readers: readonly Role[] = ['SUPER_ADMIN', 'READ_ONLY_ADMIN']

/** @see https://developer.okta.com/docs/api/openapi/okta-management/management/ limits of each list */
const limits = {
  users: { standard: 200, most: 200 },
  groups: { standard: 200, most: 10_000 },
  members: { standard: 1000, most: 1000 },
  devices: { standard: 200, most: 200 },
  apps: { standard: 20, most: 200 },
  assignees: { standard: 100, most: 100 },
} as const

const userProperties = [
  'id',
  'status',
  'lastUpdated',
  'profile.login',
  'profile.email',
  'profile.firstName',
  'profile.lastName',
  'profile.department',
  'created',
  'profile.title',
]
const groupProperties = ['id', 'type', 'lastUpdated', 'lastMembershipUpdated', 'profile.name']
const deviceProperties = ['id', 'status', 'lastUpdated', 'profile.displayName', 'profile.platform']

export class OktaApi {
  readonly #options: ApiOptions
  readonly #revoked = new Set<string>()
  readonly #routes: readonly Route[]
  readonly #madeWith: number

  constructor(options: ApiOptions) {
    this.#options = options
    this.#madeWith = options.documents.directory.userCount
    this.#routes = this.#allRoutes()
  }

  async handle(request: SandboxRequest): Promise<SandboxAnswer> {
    const { pathname } = request.url
    const matching = this.#routes.filter(({ pattern }) => pattern.test(pathname))
    if (matching.length === 0) throw refuse('E0000008')
    const route = matching.find(({ method }) => method === request.method)
    if (route === undefined) throw refuse('E0000022')
    const caller = await this.#authenticate(request, route)
    if (route.roles !== undefined && !route.roles.includes(caller.role)) throw refuse('E0000006')
    const id = decodeURIComponent(route.pattern.exec(pathname)?.[1] ?? '')
    return route.handle({ request, caller, id })
  }

  async #authenticate(request: SandboxRequest, route: Route): Promise<Caller> {
    const [, scheme, credentials] = /^(\S+) +(\S+)$/.exec(request.headers.get('authorization') ?? '') ?? []
    if (scheme === undefined || credentials === undefined) throw refuse('E0000005')
    switch (scheme.toLowerCase()) {
      case 'ssws':
        return this.#apiToken(credentials)
      case 'bearer':
        return this.#accessToken(request, route, 'Bearer', credentials)
      case 'dpop':
        return this.#accessToken(request, route, 'DPoP', credentials)
      default:
        throw refuse('E0000005')
    }
  }

  #apiToken(value: string): Caller {
    const token = this.#options.tokens.find((known) => known.value === value)
    if (token === undefined || token.state !== 'alive' || this.#revoked.has(value)) throw refuse('E0000011')
    return { role: token.role, ownerIndex: token.ownerIndex }
  }

  async #accessToken(
    request: SandboxRequest,
    { scope }: Route,
    scheme: 'Bearer' | 'DPoP',
    value: string,
  ): Promise<Caller> {
    const { host, tokenEndpoint, proofs } = this.#options
    const refused = (status: number, error: string, description: string) =>
      challenge({ scheme, host, path: request.url.pathname, scope, status, error, description })
    const issued = tokenEndpoint.find(value)
    if (issued === undefined) throw refused(401, 'invalid_token', 'The access token is invalid.')
    if (issued.expiresAt <= request.now.getTime())
      throw refused(401, 'invalid_token', 'The token has expired.')
    if (issued.thumbprint === undefined && scheme === 'DPoP')
      throw refused(401, 'invalid_token', 'The presented access_token is not DPoP bound.')
    if (issued.thumbprint !== undefined) {
      if (scheme !== 'DPoP')
        throw refused(
          400,
          'invalid_request',
          'The resource request must use the DPoP authentication scheme when using a DPoP bound token.',
        )
      if (!request.headers.has('dpop'))
        throw refused(400, 'invalid_request', 'The resource request requires a DPoP proof.')
      const reading = await proofs.verify(request, { host, accessToken: value })
      if ('refusal' in reading) throw refused(400, reading.refusal.error, reading.refusal.description)
      if (reading.thumbprint !== issued.thumbprint)
        throw refused(400, 'invalid_dpop_proof', 'The access_token is not bound to the provided DPoP proof.')
    }
    if (!issued.scopes.has(scope))
      throw refused(
        403,
        'insufficient_scope',
        'The access token provided does not contain the required scopes.',
      )
    return { role: issued.app.role, ownerIndex: undefined }
  }

  /** Groups that the caller may see: an administrator of some groups is never shown Everyone. */
  #seesGroup({ role }: Caller, index: number): boolean {
    if (role === 'none') return false
    return role !== 'GROUP_MEMBERSHIP_ADMIN' || this.#administered().includes(index)
  }

  #seesUser({ role, ownerIndex }: Caller, index: number): boolean {
    // Observed at Okta: an app without a role gets an empty list, not a refusal.
    // https://github.com/ConductorOne/baton-okta docs/docs-info.md
    if (role === 'none') return false
    if (role !== 'GROUP_MEMBERSHIP_ADMIN' || index === ownerIndex) return true
    return this.#administered().some((group) => this.#options.documents.directory.isMember(group, index))
  }

  /** The groups that administrators of some groups look after: the first few besides Everyone. */
  #administered(): readonly number[] {
    return [1, 2, 3].filter((index) => index < this.#options.documents.directory.groupCount)
  }

  /** Members in the order of their indexes, gone on with behind the last one given, whoever has come or left since. */
  #membersOf(group: number, origin: string): Listing['from'] {
    const { documents } = this.#options
    const { directory } = documents
    return function* (offset) {
      const block = limits.members.most + 1
      for (let position = positionBehind(directory, group, offset); ; position += block) {
        const members = directory.members(group, position, block)
        for (const member of members) yield { document: documents.user(member, origin), end: member + 1 }
        if (members.length < block) return
      }
    }
  }

  #administratorIndexes(): readonly number[] {
    const { tokens, administrators } = this.#options
    const others = Array.from({ length: administrators }, (_, place) => this.#madeWith - 1 - place)
    const indexes = new Set([...tokens.map(({ ownerIndex }) => ownerIndex), ...others])
    return [...indexes].filter((index) => index >= 0).sort((one, other) => one - other)
  }

  #rolesOf(index: number): readonly Document[] {
    const { tokens, administrators } = this.#options
    const held = tokens.filter(({ ownerIndex }) => ownerIndex === index).map(({ role }) => role)
    const isFurther = index < this.#madeWith && index >= this.#madeWith - administrators
    return [...[...new Set(held)].map(roleDocument), ...(isFurther ? [customRoleDocument] : [])]
  }

  #allRoutes(): readonly Route[] {
    const { documents, pager, log, tokens, apps, host, organizationId, isClassic, expiresAt } = this.#options
    const { directory } = documents

    const user = ({ request, caller, id }: Call): { index: number; document: Document } => {
      if (id === 'me' && caller.ownerIndex === undefined)
        throw refuse('E0000007', 'Resource not found: me (User)')
      const index = id === 'me' ? caller.ownerIndex : documents.findUser(id)
      if (index === undefined || !this.#seesUser(caller, index))
        throw refuse('E0000007', `Resource not found: ${id} (User)`)
      return { index, document: documents.user(index, request.url.origin) }
    }
    const group = ({ caller, id }: Call): number => {
      const index = documents.findGroup(id)
      if (index === undefined || !this.#seesGroup(caller, index))
        throw refuse('E0000007', `Resource not found: ${id} (UserGroup)`)
      return index
    }

    return [
      {
        method: 'GET',
        pattern: /^\/api\/v1\/users$/,
        scope: 'okta.users.read',
        handle: ({ request, caller }) => {
          const { searchParams, origin } = request.url
          const expression = searchParams.get('filter') ?? searchParams.get('search')
          const q = searchParams.get('q')?.toLowerCase()
          const filter = expression === null ? undefined : readFilter(expression, userProperties)
          const fields = searchParams.get('fields')
          const project = fields === null ? (document: Document) => document : readFields(fields)
          const isWithCredentials = !/\bomitCredentials\b/.test(request.headers.get('content-type') ?? '')
          const at = (index: number) => {
            if (!directory.hasPerson(index) || !this.#seesUser(caller, index)) return undefined
            const document = documents.user(index, origin, isWithCredentials)
            // Without an expression, deprovisioned users are left out.
            if (filter === undefined && document.status === 'DEPROVISIONED') return undefined
            if (q !== undefined && !startsWith(document, q)) return undefined
            return filter === undefined || filter.test(document) ? project(document) : undefined
          }
          const candidates = documents.usersChangedFrom(filter?.changedFrom)
          return pager.answer(request, {
            kind: 'users',
            limits: limits.users,
            from: candidates === undefined ? byIndex(directory.userCount, at) : byCandidates(candidates, at),
          })
        },
      },
      {
        method: 'GET',
        pattern: /^\/api\/v1\/users\/([^/]+)$/,
        scope: 'okta.users.read',
        handle: (call) => ({ status: 200, body: user(call).document }),
      },
      {
        method: 'GET',
        pattern: /^\/api\/v1\/users\/([^/]+)\/groups$/,
        scope: 'okta.users.read',
        handle: (call) => {
          const { index } = user(call)
          return pager.answer(call.request, {
            kind: `groups of ${index}`,
            limits: limits.groups,
            from: byIndex(directory.groupCount, (group) =>
              this.#seesGroup(call.caller, group) && directory.isMember(group, index)
                ? documents.group(group, call.request.url.origin)
                : undefined,
            ),
          })
        },
      },
      {
        method: 'GET',
        pattern: /^\/api\/v1\/users\/([^/]+)\/factors$/,
        scope: 'okta.users.read',
        handle: (call) => ({
          status: 200,
          body: documents.factors(user(call).index, call.request.url.origin),
        }),
      },
      {
        method: 'GET',
        pattern: /^\/api\/v1\/users\/([^/]+)\/roles$/,
        scope: 'okta.roles.read',
        roles: ['SUPER_ADMIN'],
        handle: (call) => ({ status: 200, body: this.#rolesOf(user(call).index) }),
      },
      {
        method: 'GET',
        pattern: /^\/oauth2\/v1\/clients\/([^/]+)\/roles$/,
        scope: 'okta.roles.read',
        roles: ['SUPER_ADMIN'],
        handle: ({ id }) => {
          const app = apps.find(({ clientId }) => clientId === id)
          if (app === undefined) throw refuse('E0000007', `Resource not found: ${id} (Client)`)
          return { status: 200, body: app.role === 'none' ? [] : [roleDocument(app.role)] }
        },
      },
      {
        method: 'GET',
        pattern: /^\/api\/v1\/groups$/,
        scope: 'okta.groups.read',
        handle: ({ request, caller }) => {
          const { searchParams, origin } = request.url
          const expression = searchParams.get('filter') ?? searchParams.get('search')
          const filter = expression === null ? undefined : readFilter(expression, groupProperties)
          const isWithStats = searchParams.get('expand') === 'stats'
          const at = (index: number) => {
            if (!directory.hasGroup(index) || !this.#seesGroup(caller, index)) return undefined
            const document = documents.group(index, origin, isWithStats)
            return filter === undefined || filter.test(document) ? document : undefined
          }
          const candidates = documents.groupsChangedFrom(filter?.changedFrom)
          return pager.answer(request, {
            kind: 'groups',
            limits: limits.groups,
            from: candidates === undefined ? byIndex(directory.groupCount, at) : byCandidates(candidates, at),
          })
        },
      },
      {
        method: 'GET',
        pattern: /^\/api\/v1\/groups\/([^/]+)$/,
        scope: 'okta.groups.read',
        handle: (call) => ({
          status: 200,
          body: documents.group(group(call), call.request.url.origin),
        }),
      },
      {
        method: 'GET',
        pattern: /^\/api\/v1\/groups\/([^/]+)\/users$/,
        scope: 'okta.groups.read',
        handle: (call) => {
          const index = group(call)
          return pager.answer(call.request, {
            kind: `members of ${index}`,
            limits: limits.members,
            from: this.#membersOf(index, call.request.url.origin),
          })
        },
      },
      {
        method: 'GET',
        pattern: /^\/api\/v1\/iam\/assignees\/users$/,
        scope: 'okta.roles.read',
        roles: ['SUPER_ADMIN'],
        handle: ({ request }) => {
          const { origin } = request.url
          const { items, next } = pager.read(request, {
            kind: 'assignees',
            limits: limits.assignees,
            from: byCandidates(this.#administratorIndexes(), (index) =>
              directory.hasPerson(index)
                ? assigneeDocument(documents.userId(index), organizationId, origin)
                : undefined,
            ),
          })
          return {
            status: 200,
            body: {
              value: items,
              _links: next === undefined ? {} : { next: { href: nextUrl(request, next) } },
            },
          }
        },
      },
      ...(isClassic ? [] : this.#deviceRoutes()),
      {
        method: 'GET',
        pattern: /^\/api\/v1\/logs$/,
        scope: 'okta.logs.read',
        roles: readers,
        handle: ({ request }) => log.answer(request),
      },
      {
        method: 'GET',
        pattern: /^\/api\/v1\/apps$/,
        scope: 'okta.apps.read',
        roles: readers,
        handle: ({ request }) =>
          pager.answer(request, {
            kind: 'apps',
            limits: limits.apps,
            from: byIndex(apps.length, (index) => {
              const app = apps[index]
              return app === undefined ? undefined : documents.application(app, request.url.origin)
            }),
          }),
      },
      {
        method: 'GET',
        pattern: /^\/api\/v1\/apps\/([^/]+)$/,
        scope: 'okta.apps.read',
        roles: readers,
        handle: ({ request, id }) => {
          const app = apps.find(({ clientId }) => clientId === id)
          if (app === undefined) throw refuse('E0000007', `Resource not found: ${id} (AppInstance)`)
          return { status: 200, body: documents.application(app, request.url.origin) }
        },
      },
      {
        method: 'GET',
        pattern: /^\/api\/v1\/org$/,
        scope: 'okta.orgs.read',
        roles: readers,
        handle: () => ({
          status: 200,
          body: {
            id: organizationId,
            companyName: 'Acme',
            subdomain: host.split('.')[0],
            status: 'ACTIVE',
            created: '2017-01-09T09:00:00.000Z',
            lastUpdated: '2026-01-15T08:00:00.000Z',
            expiresAt: expiresAt?.toISOString() ?? null,
            website: `https://${directory.domain}`,
          },
        }),
      },
      {
        method: 'GET',
        pattern: /^\/api\/v1\/api-tokens$/,
        scope: 'okta.apiTokens.read',
        roles: readers,
        handle: ({ request }) => ({
          status: 200,
          body: tokens
            .filter(({ state, value }) => state === 'alive' && !this.#revoked.has(value))
            .map((token) => tokenDocument(token, documents.userId(token.ownerIndex), request)),
        }),
      },
      {
        method: 'DELETE',
        pattern: /^\/api\/v1\/api-tokens\/current$/,
        scope: 'okta.apiTokens.manage',
        handle: ({ request }) => {
          // As at Okta: the presented token is dead from now on.
          this.#revoked.add(request.headers.get('authorization')?.replace(/^SSWS +/i, '') ?? '')
          return { status: 204 }
        },
      },
    ]
  }

  #deviceRoutes(): readonly Route[] {
    const { documents, pager } = this.#options
    const { directory } = documents
    const scope = 'okta.devices.read'
    const device = (id: string): number => {
      const index = documents.findDevice(id)
      if (index === undefined) throw refuse('E0000007', `Resource not found: ${id} (UDDevice)`)
      return index
    }
    return [
      {
        method: 'GET',
        pattern: /^\/api\/v1\/devices$/,
        scope,
        roles: readers,
        handle: ({ request }) => {
          const expression = request.url.searchParams.get('search')
          const filter = expression === null ? undefined : readFilter(expression, deviceProperties)
          const expand = request.url.searchParams.get('expand')
          return pager.answer(request, {
            kind: 'devices',
            limits: limits.devices,
            from: byIndex(directory.deviceCount, (index) => {
              const document = documents.device(index, request.url.origin, expand)
              if (document === undefined) return undefined
              return filter === undefined || filter.test(document) ? document : undefined
            }),
          })
        },
      },
      {
        method: 'GET',
        pattern: /^\/api\/v1\/devices\/([^/]+)$/,
        scope,
        roles: readers,
        handle: ({ request, id }) => ({
          status: 200,
          body: documents.device(device(id), request.url.origin),
        }),
      },
      {
        method: 'GET',
        pattern: /^\/api\/v1\/devices\/([^/]+)\/users$/,
        scope,
        roles: readers,
        handle: ({ request, id }) => ({
          status: 200,
          body: documents.deviceUsers(device(id), request.url.origin),
        }),
      },
    ]
  }
}

/** How many members of a group have an index below `offset`. */
function positionBehind(directory: LivingDirectory, group: number, offset: number): number {
  let [low, high] = [0, offset === 0 ? 0 : directory.group(group).memberCount]
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const [member] = directory.members(group, middle, 1)
    if (member !== undefined && member < offset) low = middle + 1
    else high = middle
  }
  return low
}

/** How `q` looks for people: by the beginning of a name or an address. */
function startsWith({ profile }: Document, q: string): boolean {
  const { firstName, lastName, email } = profile as Readonly<Record<string, string>>
  return [firstName, lastName, email].some((value) => value?.toLowerCase().startsWith(q))
}

const labels: Readonly<Record<Role, string>> = {
  SUPER_ADMIN: 'Super Administrator',
  READ_ONLY_ADMIN: 'Read-only Administrator',
  GROUP_MEMBERSHIP_ADMIN: 'Group Membership Administrator',
  none: '',
}

const roleDocument = (role: Role) => ({
  id: `ra1${role.toLowerCase().replaceAll('_', '').padEnd(17, '0').slice(0, 17)}`,
  label: labels[role],
  type: role,
  status: 'ACTIVE',
  created: '2026-01-15T08:00:00.000Z',
  lastUpdated: '2026-01-15T08:00:00.000Z',
  assignmentType: 'USER',
})

const customRoleDocument = {
  id: 'irb1q92TFAHzySt3x0g4',
  role: 'cr0Yq6IJxGIr0ouum0g3',
  label: 'Service desk',
  type: 'CUSTOM',
  status: 'ACTIVE',
  created: '2026-01-15T08:00:00.000Z',
  lastUpdated: '2026-01-15T08:00:00.000Z',
  assignmentType: 'USER',
  'resource-set': 'iamoJDFKaJxGIr0oamd9g',
}

const assigneeDocument = (id: string, organizationId: string, origin: string) => ({
  id,
  orn: `orn:okta:directory:${organizationId}:users:${id}`,
  _links: {
    self: { href: `${origin}/api/v1/users/${id}` },
    roles: { href: `${origin}/api/v1/users/${id}/roles` },
  },
})

/** Each call moves the end of a token 30 days away: https://developer.okta.com/docs/guides/create-an-api-token/main/ */
const tokenDocument = (token: ApiTokenRecord, userId: string, { now, url }: SandboxRequest) => ({
  id: token.id,
  name: token.name,
  userId,
  tokenWindow: 'P30D',
  network: { connection: 'ZONE', include: ['nzo1a2b3c4d5e6f7g8h9'], exclude: [] },
  clientName: 'Okta API',
  expiresAt: new Date(now.getTime() + 30 * 86_400_000).toISOString(),
  created: '2026-01-15T08:00:00.000Z',
  lastUpdated: now.toISOString(),
  _links: {
    self: { href: `${url.origin}/api/v1/api-tokens/${token.id}`, hints: { allow: ['GET', 'DELETE'] } },
    user: { href: `${url.origin}/api/v1/users/${userId}`, hints: { allow: ['GET'] } },
  },
})

/** 503 as during Okta's maintenance. */
export const readOnlyMode = () => apiError('E0000010')
