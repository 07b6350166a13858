/** A directory in memory and a source that reads it, page by page, with whatever a provider may do wrong. */
import { randomUUID } from 'node:crypto'
import type { OpenedConfig } from '../src/configs/opened.ts'
import type { Device, Group, Identity } from '../src/entities/model.ts'
import type { HttpClient } from '../src/outbound/http.ts'
import { SourceError } from '../src/outbound/source-error.ts'
import { type CauseCatalogue, causeOf } from '../src/sources/cause.ts'
import {
  defineReader,
  type IncrementList,
  type Json,
  MarkLost,
  type MembershipWalk,
  type Page,
} from '../src/sources/reading.ts'
import type { AnySource } from '../src/sources/registry.ts'
import { defineSource } from '../src/sources/source.ts'
import { type ConfigRow, configsIn } from '../src/store/configs.ts'
import type { Database } from '../src/store/database.ts'
import type { SyncMode } from '../src/store/schema.ts'
import type { Budgets } from '../src/sync/budget.ts'
import type { Pace } from '../src/sync/pace.ts'
import type { RunEnd, RunParts } from '../src/sync/parts.ts'

export interface Person {
  readonly uid: string
  readonly title?: string
  readonly lastLogin?: string
}

/** Who is there, and what has happened to them. */
export interface Directory {
  users: Map<string, Person>
  /** Name and members by id. */
  readonly groups: Map<string, { readonly name: string; readonly members: Set<string> }>
  readonly devices: Set<string>
  readonly roles: Map<string, string>
  /** What an increment tells of; a mark is a place in it. */
  readonly changes: Change[]
}

export type Change =
  | { readonly kind: 'user' | 'group'; readonly uid: string }
  | { readonly kind: 'members'; readonly group: string }

export const emptyDirectory = (): Directory => ({
  users: new Map(),
  groups: new Map(),
  devices: new Set(),
  roles: new Map(),
  changes: [],
})

/** People and groups by number: everybody is in the first group, and every third in one of the others. */
export function directoryOf(counts: { readonly users: number; readonly groups: number }): Directory {
  const directory = emptyDirectory()
  for (let n = 0; n < counts.users; n += 1)
    directory.users.set(`u${n}`, { uid: `u${n}`, title: `Title ${n}` })
  for (let n = 0; n < counts.groups; n += 1) {
    const members = [...directory.users.keys()].filter((_, at) => n === 0 || at % counts.groups === n)
    directory.groups.set(`g${n}`, { name: `Group ${n}`, members: new Set(members) })
  }
  for (let n = 0; n < Math.ceil(counts.users / 4); n += 1) directory.devices.add(`d${n}`)
  for (let n = 0; n < counts.users; n += 10) directory.roles.set(`u${n}`, 'Help desk')
  return directory
}

/** What a provider does wrong: called for each page asked for, in order; may throw, wait, or answer otherwise. */
export type Fault = (asked: Asked, page: () => Page) => Promise<Page | undefined> | Page | undefined

export interface Asked {
  /** `users`, `groups`, `devices`, `roles`, `members`, `member_of`, `changes`, `log`, `log_mark`. */
  readonly list: string
  /** Whose members or groups. */
  readonly owner?: string
  readonly cursor: Json | undefined
  /** Pages asked for before, of all lists. */
  readonly before: number
}

export interface WorldOptions {
  readonly pageSize?: number
  /** Asked of each page in turn, until one answers. */
  readonly faults?: readonly Fault[]
  readonly hasIncrements?: boolean
  /** Whether increments read a log too, after what has changed; it may be refused. */
  readonly hasLog?: boolean
  /** Whether increments go on without what has changed. */
  readonly areChangesOptional?: boolean
  /** Whether groups tell how many members they have. */
  readonly areMembersCounted?: boolean
  /** Whether groups have a tag that is another when their members are. */
  readonly hasMemberTags?: boolean
  /** Whether it may be asked which groups a user is in. */
  readonly hasUserWalk?: boolean
  /** Whether increments ask for the groups of people who were not known before. */
  readonly hasNewcomers?: boolean
  /** Whether roles are read only where a configuration requires them. */
  readonly areRolesOnRequest?: boolean
}

export interface World {
  directory: Directory
  faults: Fault[]
  readonly source: AnySource
  /** Every page asked for, in order. */
  readonly asked: Asked[]
}

export const refusal = (status: number, operation = 'read') =>
  new SourceError({ code: 'refused', operation, status })

const causes = {
  acme_forbidden: {
    determinate: true,
    title: 'Acme refuses',
    explanation: 'The permission is missing.',
    remedy: 'Grant it.',
    docs: 'https://acme.example/docs',
  },
  acme_token_revoked: {
    determinate: true,
    reach: 'everything',
    title: 'Acme refuses the token',
    explanation: 'It was revoked.',
    remedy: 'Make another one.',
    docs: 'https://acme.example/docs',
  },
  acme_away: {
    determinate: false,
    title: 'Acme does not answer',
    explanation: 'Nothing was learnt.',
    remedy: 'Wait.',
    docs: 'https://acme.example/docs',
  },
} as const satisfies CauseCatalogue

const identityOf = ({ uid, title, lastLogin }: Person): Identity => ({
  kind: 'identity',
  attributes: {
    uid,
    name: `${uid}@acme.example`,
    email_addr: `${uid}@acme.example`,
    status: 'active',
    ...(title !== undefined && { job_title: title }),
  },
  ...(lastLogin !== undefined && { activity: { last_login_time: lastLogin } }),
})

export function createWorld(directory: Directory, options: WorldOptions = {}): World {
  const pageSize = options.pageSize ?? 10
  const asked: Asked[] = []
  const world: World = { directory, faults: [...(options.faults ?? [])], asked, source: undefined as never }

  /** A page of `items`, and where the next one begins. */
  const paged = <T>(
    items: readonly T[],
    cursor: Json | undefined,
    read: (items: readonly T[]) => Page,
  ): Page => {
    const from = typeof cursor === 'number' ? cursor : 0
    const to = from + pageSize
    return { ...read(items.slice(from, to)), ...(to < items.length && { next: to }) }
  }

  const ask = async (
    { http }: Session,
    { list, owner, cursor }: Omit<Asked, 'before'>,
    answer: () => Page,
  ): Promise<Page> => {
    const question: Asked = { list, cursor, before: asked.length, ...(owner !== undefined && { owner }) }
    asked.push(question)
    await http.request({ operation: `read ${list}`, method: 'GET', url: 'https://acme.example/' })
    for (const fault of world.faults) {
      const page = await fault(question, answer)
      if (page !== undefined) return page
    }
    return answer()
  }

  const groupOf = (uid: string): Group | undefined => {
    const group = world.directory.groups.get(uid)
    return (
      group && {
        kind: 'group',
        attributes: { uid, name: group.name },
        ...(options.areMembersCounted !== false && { memberCount: group.members.size }),
        ...(options.hasMemberTags === true && { membersTag: [...group.members].join() }),
      }
    )
  }

  const log: IncrementList<Session> = {
    name: 'log',
    title: 'Log',
    capability: 'change_log',
    required: false,
    after: ['changes'],
    facts: ['roles'],
    kinds: [],
    async begin(session) {
      await ask(session, { list: 'log_mark', cursor: undefined }, () => ({}))
      return 0
    },
    read: (session, _mark, cursor) => ask(session, { list: 'log', cursor }, () => ({ mark: 0 })),
  }

  const memberOf: MembershipWalk<Session> = {
    by: 'identity',
    calls: () => 1,
    read: (session, owner, cursor) =>
      ask(session, { list: 'member_of', owner, cursor }, () => {
        if (!world.directory.users.has(owner)) throw refusal(404)
        const groups = [...world.directory.groups].filter(([, { members }]) => members.has(owner))
        return paged(groups, cursor, (some) => ({
          memberships: some.map(([group]) => ({ group, member: owner })),
        }))
      }),
  }

  const reader = defineReader<unknown, Session>({
    open: (_target, { http }) => ({ http }),
    lists: [
      {
        name: 'users',
        title: 'Users',
        capability: 'users',
        required: true,
        kinds: ['identity'],
        calls: ({ identities }) => identities && Math.ceil(identities / pageSize),
        read: (session, cursor) =>
          ask(session, { list: 'users', cursor }, () =>
            paged([...world.directory.users.values()], cursor, (people) => ({
              entities: people.map(identityOf),
            })),
          ),
      },
      {
        name: 'groups',
        title: 'Groups',
        capability: 'groups',
        required: true,
        kinds: ['group'],
        calls: ({ groups }) => groups && Math.ceil(groups / pageSize),
        read: (session, cursor) =>
          ask(session, { list: 'groups', cursor }, () =>
            paged([...world.directory.groups.keys()], cursor, (uids) => ({
              entities: uids.flatMap((uid) => groupOf(uid) ?? []),
            })),
          ),
      },
      {
        name: 'devices',
        title: 'Devices',
        capability: 'devices',
        required: false,
        kinds: ['device'],
        calls: ({ devices }) => devices && Math.ceil(devices / pageSize),
        read: (session, cursor) =>
          ask(session, { list: 'devices', cursor }, () =>
            paged([...world.directory.devices], cursor, (uids) => ({
              entities: uids.map((uid): Device => ({ kind: 'device', attributes: { uid, name: uid } })),
            })),
          ),
      },
      {
        name: 'roles',
        title: 'Roles',
        capability: 'roles',
        required: false,
        isOnRequest: options.areRolesOnRequest === true,
        after: ['users'],
        facts: ['roles'],
        calls: () => 1,
        read: (session, cursor) =>
          ask(session, { list: 'roles', cursor }, () =>
            paged([...world.directory.roles], cursor, (roles) => ({
              facts: roles.map(([uid, value]) => ({ kind: 'identity', uid, name: 'roles', value })),
            })),
          ),
      },
    ],
    memberships: [
      {
        by: 'group',
        calls: ({ memberCount }) => (memberCount === undefined ? 1 : Math.ceil(memberCount / pageSize)),
        read: (session, owner, cursor) =>
          ask(session, { list: 'members', owner, cursor }, () => {
            const group = world.directory.groups.get(owner)
            if (group === undefined) throw refusal(404)
            return paged([...group.members], cursor, (members) => ({
              memberships: members.map((member) => ({ group: owner, member })),
            }))
          }),
      },
      ...(options.hasUserWalk === true ? [memberOf] : []),
    ],
    ...(options.hasNewcomers === true && { newcomers: memberOf }),
    increments:
      options.hasIncrements === false
        ? []
        : [
            {
              name: 'changes',
              title: 'Changes',
              capability: 'users',
              required: options.areChangesOptional !== true,
              kinds: ['identity', 'group'],
              begin: async () => world.directory.changes.length,
              read: (session, mark, cursor) =>
                ask(session, { list: 'changes', cursor }, () => {
                  const since = typeof mark === 'number' ? mark : 0
                  if (since > world.directory.changes.length) throw new MarkLost()
                  const page = paged(world.directory.changes.slice(since), cursor, changesPage)
                  return page.next === undefined ? { ...page, mark: world.directory.changes.length } : page
                }),
            },
            ...(options.hasLog === true ? [log] : []),
          ],
    rates: {
      account: () => 'acme',
      bucketOf: () => ({ bucket: 'all', cost: 1 }),
      documented: () => ({ points: 1_000_000, perMs: 1_000 }),
      newsIn: () => undefined,
    },
  })

  const changesPage = (changes: readonly Change[]): Page => ({
    entities: changes.flatMap((change) => {
      if (change.kind === 'members') return []
      if (change.kind === 'group') return groupOf(change.uid) ?? []
      const person = world.directory.users.get(change.uid)
      return person === undefined ? [] : identityOf(person)
    }),
    removed: changes.flatMap((change) => {
      if (change.kind === 'user' && !world.directory.users.has(change.uid))
        return { kind: 'identity' as const, uid: change.uid }
      return change.kind === 'group' && !world.directory.groups.has(change.uid)
        ? { kind: 'group' as const, uid: change.uid }
        : []
    }),
    changedGroups: changes.flatMap((change) => (change.kind === 'members' ? { uid: change.group } : [])),
  })

  const source = defineSource<unknown, Session>({
    name: 'acme',
    integrationType: 'ACME',
    title: 'Acme',
    domainField: {
      name: 'domain',
      title: 'Domain',
      help: 'Of the organisation',
      docs: 'https://acme.example/docs',
    },
    credentialKinds: [],
    causes,
    checks: (['users', 'groups', 'memberships', 'devices', 'roles'] as const).map((capability) => ({
      id: capability,
      stage: 'capability',
      title: capability,
      proves: capability,
      required: capability !== 'devices' && capability !== 'roles',
      capability,
      after: [],
      run: async () => ({ status: 'passed' }),
    })),
    readDomain: (domain) => ({ ok: true, domain }),
    readCredentials: () => ({ ok: true, credentials: {} }),
    secretsIn: () => [],
    principalOf: () => undefined,
    egress: () => [{ host: 'acme.example', chosenBy: 'provider' }],
    open: (_target, { http }) => ({ http }),
    reader: reader as never,
    diagnose: ({ status }) => {
      if (status === 401) return causeOf(causes, 'acme_token_revoked')
      return causeOf(causes, status === 403 ? 'acme_forbidden' : 'acme_away')
    },
  })
  return Object.assign(world, { source })
}

interface Session {
  readonly http: HttpClient
}

/** Nothing waits, and every page is soon in a commit of its own. */
export const quick: Partial<Pace> = {
  rowsAtOnce: 1,
  lingerMs: 1,
  lookMs: 50,
  attempts: 3,
  pauseMs: 1,
  longestPauseMs: 2,
  longestWaitMs: 5,
}

/** Counts requests, and holds nobody up. */
export const openBudgets: Budgets = {
  of: () => ({
    spending: (http, _signal, use) => ({
      request(request) {
        use.calls += 1
        return http.request(request)
      },
    }),
    noting: (http) => http,
  }),
  standing: () => [],
}

const answer = {
  status: 200,
  headers: new Headers(),
  text: '{}',
  json: () => ({}),
  receivedAt: new Date(0),
}

export const openedConfig = (world: World, row: ConfigRow): OpenedConfig => ({
  row,
  source: world.source,
  target: { domain: row.domain, credentials: {} },
  redact: (value) => value,
})

export interface PartsOfWorld extends RunParts {
  readonly troubles: unknown[]
  readonly ends: RunEnd[]
}

export function partsOf(
  database: Database,
  world: World,
  more: Partial<Pick<RunParts, 'settingsOf' | 'now' | 'pace'>> = {},
): PartsOfWorld {
  const troubles: unknown[] = []
  const ends: RunEnd[] = []
  const silent = () => undefined
  return {
    database,
    troubles,
    ends,
    openHttp: () => ({ request: async () => answer, close: async () => undefined }),
    async unseal(configId) {
      const row = await database.query
        .selectFrom('integration_configs')
        .select('organization_id')
        .where('id', '=', configId)
        .executeTakeFirst()
      const config = row && (await configsIn(database.query).find(row.organization_id, configId))
      return config && openedConfig(world, config)
    },
    budgets: openBudgets,
    sparing: (http) => http,
    settingsOf: () => ({ fuse: { percent: 10, atLeast: 50 }, budgetShare: 50 }),
    now: () => new Date(),
    log: { error: silent, warn: silent, info: silent, debug: silent } as never,
    metrics: { onPage: silent, onEnd: (_source, _mode, end) => ends.push(end) },
    onTrouble: (error) => troubles.push(error),
    pace: quick,
    ...more,
  }
}

export interface Tenant {
  readonly organizationId: string
  readonly configId: string
}

/** An organisation with a configuration of the world's source. */
export async function newTenant({ query }: Database): Promise<Tenant> {
  const [organizationId, configId] = [randomUUID(), randomUUID()]
  await query
    .insertInto('organizations')
    .values({ id: organizationId, name: `org-${organizationId}` })
    .execute()
  await query
    .insertInto('integration_configs')
    .values({
      id: configId,
      organization_id: organizationId,
      integration_type: 'ACME',
      domain: 'acme.example',
      name: 'Acme',
      settings: '{}',
      state: 'valid',
    })
    .execute()
  await query
    .insertInto('sync_states')
    .values({ config_id: configId, organization_id: organizationId })
    .execute()
  return { organizationId, configId }
}

/** Asks for a run; its id. */
export async function newRun(
  { query }: Database,
  { organizationId, configId }: Tenant,
  { mode = 'full', isDryRun = false }: { readonly mode?: SyncMode; readonly isDryRun?: boolean } = {},
): Promise<string> {
  const { id } = await query
    .insertInto('sync_runs')
    .values({
      organization_id: organizationId,
      config_id: configId,
      mode,
      dry_run: isDryRun,
      requested_by: 'test',
      reason: 'request',
      progress: '{}',
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  return id
}

/** What is stored of a tenant's entities: every revision's content, whatever its time. */
export async function contentOf({ query }: Database, { configId }: Tenant): Promise<string[]> {
  const rows = await query
    .selectFrom('entity_revisions')
    .select(['kind', 'uid', 'attributes', 'facts', 'group_uids', 'groups', 'activity', 'raw', 'closed_in'])
    .where('config_id', '=', configId)
    .execute()
  return rows.map(({ closed_in, ...row }) => JSON.stringify({ ...row, isOpen: closed_in === null })).sort()
}
