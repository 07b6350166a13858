/** Random histories and random queries: what the database finds is what a look at every revision finds. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { differentEntities } from '../src/entities/differences.ts'
import { lookUpPrincipals } from '../src/entities/lookup.ts'
import { formulaOf, groupTermsIn } from '../src/entities/matching.ts'
import type { Entity } from '../src/entities/model.ts'
import { parseQuery } from '../src/entities/query-parser.ts'
import { printQuery, type QueryTerm, type QueryTree } from '../src/entities/query-tree.ts'
import { recentEntities } from '../src/entities/recent.ts'
import { type Page, searchEntities } from '../src/entities/search.ts'
import { isFulfilled } from '../src/entities/term-formula.ts'
import { fold } from '../src/entities/terms.ts'
import type { Database } from '../src/store/database.ts'
import type { Touch } from '../src/store/entity-differences.ts'
import { createSightings } from '../src/store/sightings.ts'
import {
  idOf,
  type MadeConfig,
  type MadeRevision,
  makeConfig,
  makeOrganization,
  person,
  setClock,
  termsOfRevision,
  writeHistory,
} from './entity-world.ts'
import { freshDatabase } from './fresh-database.ts'
import { queryTrees } from './query-trees.ts'

let database: Database
const ends: (() => unknown)[] = []
before(async () => {
  database = await freshDatabase({ after: (end) => ends.push(end) })
})
after(async () => {
  for (const end of ends.reverse()) await end()
})

/** Merge `n` of a history, in days. */
const timeOf = (n: number) => new Date(Date.UTC(2026, 0, 1 + n))
const merges = 8

interface Change {
  readonly at: number
  readonly who: number
  readonly config: 0 | 1
  /** Absent: it goes. */
  readonly is?: {
    readonly department: string
    readonly full_name: string
    readonly email_addr: string
    readonly groups: readonly number[]
    readonly hasMfa?: boolean
  }
}

const people = 6
const groupNames = ['Domain Admins', "O'Brien's \\ team", 'ada', 'Ünï cødé']
const departments = ['Sales', 'Sales EMEA', "R&D | 'x' :* !", 'back\\slash']
const names = ['Ada Lovelace', 'Bob', 'Ada "the" Byron', '😀 Smile']
const addresses = ['ada@example.com', 'bob@example.com', "o'b\\x@example.com"]

const change = fc.record<Change>(
  {
    at: fc.integer({ min: 1, max: merges }),
    who: fc.nat({ max: people - 1 }),
    config: fc.constantFrom(0 as const, 1 as const),
    is: fc.record(
      {
        department: fc.constantFrom(...departments),
        full_name: fc.constantFrom(...names),
        email_addr: fc.constantFrom(...addresses),
        groups: fc.subarray([0, 1, 2, 3]),
        hasMfa: fc.boolean(),
      },
      { requiredKeys: ['department', 'full_name', 'email_addr', 'groups'] },
    ),
  },
  { requiredKeys: ['at', 'who', 'config'] },
)

const term = fc.oneof(
  ...(
    [
      [
        undefined,
        [
          'ada',
          'bob',
          'lovelace',
          'u1',
          'ada@example.com',
          "O'B\\x@Example.com",
          'admins',
          'team',
          '😀',
          'nobody',
        ],
      ],
      ['email', addresses],
      ['user', ['u0@example.com', 'u1', 'ada@example.com']],
      ['id', ['u0', 'u3']],
      ['department', [...departments, 'emea']],
      ['name', ['ada', 'ada lovelace', '"the"', 'b']],
      ['group', [...groupNames, 'admins', 'crew', 'g1', 'g2']],
      ['domain', ['one.example', 'two']],
      ['source', ['okta', 'entra_id']],
      ['mfa', ['true', 'false']],
      ['privileged', ['true', 'false']],
    ] as const
  ).map(([field, values]) =>
    fc
      .record({
        value: fc.constantFrom(...values),
        isPrefix: field === 'mfa' || field === 'privileged' ? fc.constant(false) : fc.boolean(),
      })
      .map(
        ({ value, isPrefix }): QueryTree => ({
          kind: 'term',
          ...(field && { field }),
          value,
          isPrefix,
          at: 0,
        }),
      ),
  ),
)
const tree = queryTrees(term, { maxDepth: 2, weight: 4 })

/** A history that can go on. */
class History {
  readonly organizationId: string
  readonly configs: readonly [MadeConfig, MadeConfig]
  readonly revisions: MadeRevision[] = []

  constructor(organizationId: string, configs: readonly [MadeConfig, MadeConfig]) {
    this.organizationId = organizationId
    this.configs = configs
    // Not all of them are there for all of the time, and both configurations have groups of the same ids.
    for (const [n, config] of configs.entries())
      for (const [at, name] of groupNames.entries())
        this.revisions.push({
          config,
          entity: { kind: 'group', attributes: { uid: `g${at}`, name: n === 0 ? name : name.toUpperCase() } },
          from: timeOf(at),
          ...(at === 2 && n === 1 && { to: timeOf(5) }),
          ...(at === 1 && { to: timeOf(4 + n) }),
        })
    // One gets the name of another, and later its own again.
    for (const [n, config] of configs.entries())
      for (const [name, from, to] of [
        ['Domain Admins', 4, 6],
        ["O'Brien's crew", 6, undefined],
      ] as const)
        this.revisions.push({
          config,
          entity: { kind: 'group', attributes: { uid: 'g1', name } },
          from: timeOf(from + n),
          ...(to !== undefined && { to: timeOf(to + n) }),
        })
  }

  apply({ at, who, config: n, is }: Change): void {
    const config = this.configs[n]
    const from = timeOf(at)
    const open = this.revisions.findIndex(
      (one) => one.config === config && one.entity.attributes.uid === `u${who}` && one.to === undefined,
    )
    const known = this.revisions[open]
    if (known !== undefined) {
      // Once a merge.
      if (known.from >= from) return
      this.revisions[open] = { ...known, to: from }
    } else if (
      this.revisions.some(
        (one) =>
          one.config === config &&
          one.entity.attributes.uid === `u${who}` &&
          one.to !== undefined &&
          one.to >= from,
      )
    )
      return
    if (is === undefined) return
    const { department, full_name, email_addr, groups, hasMfa } = is
    this.revisions.push({
      config,
      entity: person(`u${who}`, { department, full_name, email_addr, is_privileged: groups.includes(0) }),
      from,
      groups: groups.map((group) => ({ uid: `g${group}`, name: groupNames[group] ?? '' })),
      ...(hasMfa !== undefined && { hasMfa }),
    })
  }

  /** Whether a revision is as asked at some moment that it was there in the span, its groups having the names that they had then. */
  isMatch(query: QueryTree | undefined, revision: MadeRevision, from: Date, to: Date): boolean {
    if (query === undefined) return true
    const isThere = (one: MadeRevision, moment: Date) =>
      one.from <= moment && (one.to === undefined || one.to > moment)
    const isWithin = (one: MadeRevision) => one.from <= to && (one.to === undefined || one.to > from)
    const groups = (moment: Date) => (term: QueryTerm, configId: string) => {
      const named = this.revisions.filter(
        (one) => one.entity.kind === 'group' && one.config.id === configId && isWithin(one),
      )
      const uids = [...new Set(named.map(({ entity }) => entity.attributes.uid))]
      return uids.filter((uid) => {
        const all = named.filter(({ entity }) => entity.attributes.uid === uid)
        // Whatever never had another name has it before it comes and after it has gone.
        return (
          all.every((one) => isNamed(one, term)) ||
          all.some((one) => isThere(one, moment) && isNamed(one, term))
        )
      })
    }
    const moments = [from, ...Array.from({ length: 20 }, (_, n) => timeOf(n - 1))].filter(
      (moment) => moment >= from && moment <= to && isThere(revision, moment),
    )
    const terms = new Set(termsOfRevision(revision))
    return moments.some((moment) => isFulfilled(formulaOf(query, revision.config, groups(moment)), terms))
  }

  idOf(revision: MadeRevision): string {
    return idOf(this.organizationId, revision)
  }

  /** Looks at every revision. */
  naive(
    query: QueryTree | undefined,
    from: Date,
    to: Date,
    kind: Entity['kind'] = 'identity',
  ): Map<string, number> {
    const within = this.revisions.filter((one) => one.from <= to && (one.to === undefined || one.to > from))
    const found = new Map<string, number>()
    for (const revision of within.filter(({ entity }) => entity.kind === kind))
      if (this.isMatch(query, revision, from, to)) found.set(this.idOf(revision), 0)
    for (const revision of within) {
      const id = this.idOf(revision)
      if (found.has(id)) found.set(id, (found.get(id) ?? 0) + 1)
    }
    return found
  }
}

/** A group's name by words, as queries name them. */
function isNamed({ entity }: MadeRevision, { value, isPrefix }: QueryTerm): boolean {
  const [held, asked] = [fold(entity.attributes.name ?? ''), fold(value)]
  const words = held.split(' ')
  const isWord = (word: string, isStart: boolean) =>
    words.some((one) => (isStart ? one.startsWith(word) : one === word))
  const wanted = asked.split(' ')
  return (
    (isPrefix ? held.startsWith(asked) : held === asked || entity.attributes.uid === asked) ||
    wanted.every((word, at) => isWord(word, isPrefix && at === wanted.length - 1))
  )
}

async function start(changes: readonly Change[]): Promise<History> {
  const organizationId = await makeOrganization(database)
  const history = new History(organizationId, [
    await makeConfig(database, organizationId, 'okta', 'one.example'),
    await makeConfig(database, organizationId, 'entra-id', 'two.example'),
  ])
  for (const one of [...changes].sort((a, b) => a.at - b.at)) history.apply(one)
  await writeHistory(database, organizationId, history.revisions, timeOf(merges))
  return history
}

/** Merges that come while somebody reads. */
async function goOn(history: History, changes: readonly Change[], at: number): Promise<void> {
  const before = [...history.revisions]
  for (const one of changes) history.apply({ ...one, at })
  for (const [n, revision] of before.entries()) {
    const ended = history.revisions[n]?.to
    if (ended === revision.to) continue
    await database.pool.query(
      `update entity_revisions set ended_at = $2, closed_in = $3, last_seen_at = first_seen_at
      where entity_id = $1 and ended_at = 'infinity'`,
      [history.idOf(revision), ended, 1_000 + at],
    )
  }
  await writeHistory(database, history.organizationId, history.revisions.slice(before.length), timeOf(at))
  await setClock(database, history.organizationId, 1_000 + at, timeOf(at))
}

const shown = (page: Page) => page.entities.map((entity) => [entity[0].entity_id, entity.length] as const)
const sorted = (found: ReadonlyMap<string, number>) => [...found].sort(([a], [b]) => (a < b ? -1 : 1))
const span = (from: Date, to: Date) => ({ from: from.toISOString(), to: to.toISOString() })

const history = fc.array(change, { minLength: 5, maxLength: 40 })
const day = fc.integer({ min: -1, max: merges + 1 })

test('a query finds the entities that a look at every revision finds, at a moment and in a stretch of time', async () => {
  const question = fc.record({
    query: fc.option(tree, { nil: undefined }),
    days: fc.tuple(day, day),
    isMoment: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(
      history,
      fc.array(question, { minLength: 10, maxLength: 10 }),
      async (changes, questions) => {
        const made = await start(changes)
        const { organizationId } = made
        for (const { query, days, isMoment } of questions) {
          const from = timeOf(Math.min(...days))
          const to = isMoment ? from : timeOf(Math.max(...days))
          const text = query === undefined ? '' : printQuery(query)
          const read = parseQuery(text)
          const expected = sorted(made.naive(read, from, to))
          const search = {
            organizationId,
            kind: 'identity' as const,
            ...(read && { tree: read }),
            span: span(from, to),
            limit: 100,
            withRaw: false,
          }
          const page = await searchEntities(database.query, createSightings(database.query), search)
          assert.deepEqual([shown(page), page.total], [expected, expected.length], text)

          const recent = await recentEntities(database.query, { ...search, revisions: 'latest' })
          assert.deepEqual(
            recent.map(([row]) => row.entity_id),
            naiveRecent(made, read, from, to),
            text,
          )
        }
      },
    ),
    { numRuns: 60 },
  )
})

/** Of each entity the last revision that began in the time, if it matches. */
function naiveRecent(made: History, query: QueryTree | undefined, from: Date, to: Date): readonly string[] {
  const begun = made.revisions.filter(
    (one) => one.entity.kind === 'identity' && one.from >= from && one.from <= to,
  )
  const last = begun.filter(
    (one) => !begun.some((other) => made.idOf(other) === made.idOf(one) && other.from > one.from),
  )
  return last
    .filter((one) => made.isMatch(query, one, from, to))
    .sort((a, b) => Number(b.from) - Number(a.from) || (made.idOf(a) < made.idOf(b) ? 1 : -1))
    .map((one) => made.idOf(one))
}

test('pages of any size show each entity once, as it was when the first was asked for, whatever is merged meanwhile', async () => {
  await fc.assert(
    fc.asyncProperty(
      history,
      fc.option(tree, { nil: undefined }),
      fc.tuple(day, day),
      fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 5 }),
      fc.array(fc.array(change, { maxLength: 8 }), { maxLength: 6 }),
      async (changes, query, days, limits, later) => {
        const made = await start(changes)
        const [from, to] = [timeOf(Math.min(...days)), timeOf(Math.max(...days) + 5)]
        const ids = [...made.naive(query, from, to).keys()].sort()
        const seen: string[] = []
        let next: Page['next']
        let merge = merges
        for (let n = 0; ; n++) {
          const page: Page = await searchEntities(database.query, createSightings(database.query), {
            organizationId: made.organizationId,
            kind: 'identity',
            ...(query && { tree: query }),
            span: next?.span ?? span(from, to),
            limit: limits[n % limits.length] ?? 1,
            withRaw: false,
            ...(next && { after: { id: next.afterId, total: ids.length } }),
          })
          assert.equal(page.total, ids.length)
          seen.push(...page.entities.map(([row]) => row.entity_id))
          next = page.next
          if (next === undefined) break
          merge += 1
          await goOn(made, later[n] ?? [], merge)
        }
        assert.deepEqual(seen, ids)
      },
    ),
    { numRuns: 60 },
  )
})

test('the answer for a moment that is past stays the same for ever', async () => {
  await fc.assert(
    fc.asyncProperty(
      history,
      fc.integer({ min: 0, max: merges }),
      fc.array(change, { minLength: 5 }),
      async (changes, n, later) => {
        const made = await start(changes)
        const ask = async () =>
          (
            await searchEntities(database.query, createSightings(database.query), {
              organizationId: made.organizationId,
              kind: 'identity',
              span: span(timeOf(n), timeOf(n)),
              limit: 100,
              withRaw: true,
            })
          ).entities.map((entity) => entity.map(({ last_seen_at, ...row }) => row))
        const before = await ask()
        await goOn(made, later, merges + 1)
        assert.deepEqual(await ask(), before)
      },
    ),
    { numRuns: 25 },
  )
})

test('a look-up of many names finds of each what a look at every revision finds', async () => {
  const principals = [
    'ada@example.com',
    'BOB@example.com',
    "o'b\\x@example.com",
    'u0',
    'U1@example.com',
    'u2',
    'nobody',
    '',
  ]
  await fc.assert(
    fc.asyncProperty(history, day, async (changes, n) => {
      const made = await start(changes)
      const at = timeOf(n)
      const found = await lookUpPrincipals(database.query, {
        organizationId: made.organizationId,
        kind: 'identity',
        principals,
        at: at.toISOString(),
        withRaw: false,
      })
      const expected = principals.map((principal) =>
        made.revisions
          .filter(
            ({ entity, from, to }) =>
              entity.kind === 'identity' && from <= at && (to === undefined || to > at),
          )
          .filter(({ entity: { attributes } }) =>
            [attributes.uid, attributes.name, 'email_addr' in attributes && attributes.email_addr].includes(
              principal.toLowerCase(),
            ),
          )
          .map((one) => made.idOf(one))
          .sort(),
      )
      assert.deepEqual(
        found.map((rows) => rows.map((row) => row.entity_id)),
        expected,
      )
    }),
    { numRuns: 40 },
  )
})

test('the difference between two moments is that of what was there at each', async () => {
  await fc.assert(
    fc.asyncProperty(
      history,
      fc.tuple(day, day),
      fc.integer({ min: 1, max: 5 }),
      async (changes, days, limit) => {
        const made = await start(changes)
        const [from, to] = [timeOf(Math.min(...days)), timeOf(Math.max(...days))]
        const at = (moment: Date) =>
          new Map(
            made.revisions
              .filter(
                (one) =>
                  one.entity.kind === 'identity' &&
                  one.from <= moment &&
                  (one.to === undefined || one.to > moment),
              )
              .map((one) => [made.idOf(one), JSON.stringify([one.entity, one.groups, one.hasMfa])]),
          )
        const [then, now] = [at(from), at(to)]
        const expected = [...new Set([...then.keys(), ...now.keys()])]
          .filter((id) => then.get(id) !== now.get(id))
          .sort()
        const seen: string[] = []
        for (let place: Touch | undefined, isFirst = true; isFirst || place !== undefined; isFirst = false) {
          const scope = { organizationId: made.organizationId, kind: 1, span: span(from, to) }
          const everything = { alternatives: [{}], isIndexed: false }
          const { entities, next } = await differentEntities(database.query, scope, everything, place, limit)
          assert.ok(entities.length <= limit && (next === undefined || entities.length === limit))
          for (const { id, difference } of entities) {
            seen.push(id)
            assert.equal(difference.change, then.has(id) ? (now.has(id) ? 'changed' : 'removed') : 'added')
          }
          place = next
        }
        assert.equal(new Set(seen).size, seen.length)
        assert.deepEqual(seen.sort(), expected)
      },
    ),
    { numRuns: 40 },
  )
})

test('terms that may name groups are those that a person would take for names', () => {
  const named = (text: string) => groupTermsIn(parseQuery(text) ?? { kind: 'all' }).map(({ value }) => value)
  assert.deepEqual(named('admins group:"x y" ada@example.com department:sales -(group:z OR w)'), [
    'admins',
    'x y',
    'z',
    'w',
  ])
  assert.deepEqual(named('group:*'), [])
})
