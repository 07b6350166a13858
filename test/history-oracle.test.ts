/** What the store knows at any moment, against a history kept in the plainest way, over whatever directories do. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { sql } from 'kysely'
import { entityKinds, factNames } from '../src/entities/model.ts'
import type { Database } from '../src/store/database.ts'
import type { Fuse, Merge, MergeResult } from '../src/store/merge.ts'
import { openStage, type RunHandle, RunLost, type Stage, StageLost } from '../src/store/sync-stage.ts'
import { canonicalJson } from '../src/sync/staging.ts'
import {
  apply,
  type Change,
  changes,
  copyOf,
  emptyDirectory,
  paged,
  tellAll,
  tellChanges,
} from './changing-directory.ts'
import {
  mergeRun,
  newConfig,
  newRun,
  noTotals,
  type Owner,
  revisionsOf,
  staged,
  takeOver,
} from './entity-runs.ts'
import { freshDatabase } from './fresh-database.ts'
import { contentOf, type Known, NaiveHistory, type Outcome, type Told } from './naive-history.ts'

/** Small directories, independent of each other, in each configuration: each is a case of its own. */
const islands = 100
const historiesOfLane = 9
/** Seeds of lanes that run side by side. */
const lanes = [1, 2, 3]

const changeArbitrary: fc.Arbitrary<Change> = fc.record({
  island: fc.nat(islands - 1),
  what: fc.constantFrom(...changes, 'hire', 'hire', 'found', 'join', 'join', 'join', 'join', 'nest'),
  a: fc.nat(2),
  b: fc.nat(2),
  v: fc.nat(3),
})

const faults = [
  'none',
  'none',
  'none',
  'taken over',
  'stage lost',
  'finish fails',
  'given up',
  'late node',
] as const

/** @param mostChanges of directories, between two runs */
const stepArbitrary = (mostChanges: number) =>
  fc.record({
    changes: fc.array(changeArbitrary, { maxLength: mostChanges, size: 'max' }),
    mode: fc.constantFrom('full', 'incremental'),
    fullness: fc.record({
      missing: fc.constantFrom(0, 0, 0, 2),
      unreadable: fc.constantFrom(0, 7),
      hasDevices: fc.boolean(),
      hasMemberships: fc.constantFrom(true, true, true, false),
    }),
    completeFacts: fc.constantFrom([], ['roles'], ['roles', 'has_mfa'], factNames),
    isFused: fc.boolean(),
    isApproving: fc.constantFrom(true, true, false),
    isTried: fc.boolean(),
    pageSizes: fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 4 }),
    repeats: fc.array(fc.nat(50), { maxLength: 3 }),
    fault: fc.constantFrom(...faults),
    faultAt: fc.nat(5),
    clockMs: fc.integer({ min: -5_000, max: 5_000 }),
  })
type Step = ReturnType<typeof stepArbitrary> extends fc.Arbitrary<infer S> ? S : never

const fuse: Fuse = { percent: 20, atLeast: 10 }
const looseFuse: Fuse = { percent: 100, atLeast: 1 }

test('the store agrees with a naive history, whatever directories, nodes and the database do', async (t) => {
  const database = await freshDatabase(t)
  const steps = (mostChanges: number) =>
    fc.array(stepArbitrary(mostChanges), { minLength: 4, maxLength: 8, size: 'max' })
  // Where little changes, what did not change is passed over.
  const arbitrary = fc.oneof(steps(600), { arbitrary: steps(12), weight: 2 })
  const lane = (seed: number) =>
    fc.assert(
      fc.asyncProperty(arbitrary, async (steps) => {
        await new Trial(database, await newConfig(database)).run(steps)
      }),
      { numRuns: historiesOfLane, seed, endOnFailure: true },
    )
  await Promise.all(lanes.map(lane))
})

interface Quarantined {
  readonly run: RunHandle & { readonly mode: 'full' | 'incremental' }
  readonly stage: Stage
  readonly told: Told
  readonly since: number
}

class Trial {
  readonly directory = emptyDirectory()
  /** As of the last run that was merged. */
  told = emptyDirectory()
  readonly history = new NaiveHistory()
  /** Number and time of each merge in the store, by its number in the history. */
  readonly moments: Pick<MergeResult, 'at' | 'sequence'>[] = [{ at: new Date(0), sequence: 0 }]
  quarantined: Quarantined | undefined
  readonly database: Database
  readonly owner: Owner

  constructor(database: Database, owner: Owner) {
    this.database = database
    this.owner = owner
    for (let island = 0; island < islands; island++)
      for (const what of ['hire', 'found', 'join'] as const)
        for (let a = 0; a <= island % 3; a++) apply(this.directory, { island, what, a, b: a % 2, v: 1 })
  }

  async run(steps: readonly Step[]): Promise<void> {
    for (const step of steps) {
      for (const change of step.changes) apply(this.directory, change)
      if (step.isApproving && this.quarantined !== undefined) await this.approve(this.quarantined)
      await this.sync(step)
    }
    await this.compare()
  }

  private async sync(step: Step): Promise<void> {
    const { database, history, directory } = this
    const mode = history.sequence === 0 ? 'full' : step.mode
    const pieces = mode === 'full' ? tellAll(directory, step.fullness) : tellChanges(this.told, directory)
    const pages = paged(pieces, step.pageSizes)
    if (pages.length === 0) pages.push({})
    const repeated = step.repeats.flatMap((at) => pages[at % pages.length] ?? [])
    const told: Told = {
      mode,
      pages: mode === 'full' ? [...pages, ...repeated] : pages,
      completeKinds:
        mode === 'full' ? entityKinds.filter((kind) => kind !== 'device' || step.fullness.hasDevices) : [],
      provenKinds: entityKinds.filter((kind) => kind !== 'device' || step.fullness.hasDevices),
      areMembershipsComplete: mode === 'full' && step.fullness.hasMemberships,
      // An increment may be told of a kind of fact whole, too: then everybody is compared.
      completeFacts: step.completeFacts as Told['completeFacts'],
    }
    const since = history.sequence
    const read = await this.read(told, step)
    if (read === undefined) return
    const { run, stage } = read

    const proof = proofOf(told)
    const outcome = history.outcomeOf(told, step.isFused ? fuse : looseFuse)
    const asked = {
      ...proof,
      fuse: step.isFused ? fuse : looseFuse,
      now: new Date(Date.now() + step.clockMs),
    }
    if (step.isTried) {
      const before = await this.fingerprint()
      const dry = await mergeRun(database, run, { ...asked, isDryRun: true, finish: async () => undefined })
      assert.equal(dry.kind, 'dry')
      assertCounts(dry, outcome)
      assert.equal(await this.fingerprint(), before, 'a dry run wrote something')
    }
    if (step.fault === 'finish fails') {
      const before = await this.fingerprint()
      const finish = async () => {
        throw new Error('the end cannot be written')
      }
      await assert.rejects(mergeRun(database, run, { ...asked, finish }), /the end cannot be written/)
      assert.equal(await this.fingerprint(), before, 'a merge whose end failed wrote something')
    }
    if (step.fault === 'late node')
      await assert.rejects(mergeRun(database, { ...run, fence: run.fence - 1 }, asked), RunLost)

    const older = this.quarantined
    const result = await mergeRun(database, run, {
      ...asked,
      async finish(transaction, { kind }) {
        const end = (id: string, status: 'superseded' | 'quarantined' | 'succeeded') =>
          transaction.updateTable('sync_runs').set({ status }).where('id', '=', id).execute()
        if (kind === 'quarantined' && older !== undefined) await end(older.run.id, 'superseded')
        await end(run.id, kind === 'quarantined' ? 'quarantined' : 'succeeded')
      },
    })
    assertCounts(result, outcome)
    assert.equal(result.kind, outcome.isTooMuch ? 'quarantined' : 'merged')
    if (result.kind === 'quarantined') {
      await older?.stage.drop()
      this.quarantined = { run, stage, told, since }
      const { rows } = await sql<{ count: number }>`
        select count(*) as count from sync_removals where run_id = ${run.id}`.execute(database.query)
      assert.equal(rows[0]?.count, sum(Object.values(outcome.removed)))
      return
    }
    this.accept(told, outcome, result)
    this.told = copyOf(directory)
    await stage.drop()
    if (mode === 'full' && isWholeTruth(told, step)) this.assertTruth()
  }

  /** Reads and stages, through whatever happens; nothing when the run was given up. */
  private async read(told: Told, { fault, faultAt }: Step) {
    const { database, owner } = this
    let run = await newRun(database, owner, told.mode)
    let stage = await openStage(database, run)
    assert.equal(stage.isEmpty, true)
    for (let at = 0, hasHappened = false; at < told.pages.length; at++) {
      if (at === faultAt % told.pages.length && !hasHappened) {
        hasHappened = true
        if (fault === 'given up') {
          await this.end(run, 'failed')
          return void (await stage.drop())
        }
        if (fault === 'taken over' || fault === 'late node') {
          const late = stage
          run = await takeOver(database, run)
          stage = await openStage(database, run)
          assert.equal(stage.isEmpty, at === 0)
          await assert.rejects(
            late.commit([await staged(owner, told.pages[at] ?? {}, late)], {}, noTotals),
            RunLost,
          )
          await late.drop()
          // Whether the last page was committed was not known.
          at = Math.max(0, at - 1)
        }
        if (fault === 'stage lost') {
          await loseStages(database, run)
          await assert.rejects(
            stage.commit([await staged(owner, told.pages[at] ?? {}, stage)], {}, noTotals),
            StageLost,
          )
          await assert.rejects(mergeRun(database, run, proofOf(told)), StageLost)
          stage = await openStage(database, run)
          assert.equal(stage.isEmpty, true)
          at = 0
        }
      }
      await stage.commit([await staged(owner, told.pages[at] ?? {}, stage)], { at }, noTotals)
    }
    return { run, stage }
  }

  private async approve({ run: held, stage, told, since }: Quarantined): Promise<void> {
    const { database, history } = this
    this.quarantined = undefined
    const run = await takeOver(database, held)
    const outcome = history.outcomeOf(told, 'approved', since)
    const result = await mergeRun(database, run, { ...proofOf(told), fuse: 'approved' })
    assert.equal(result.kind, 'merged')
    assertCounts(result, outcome)
    this.accept(told, outcome, result)
    await stage.drop()
  }

  private accept(told: Told, outcome: Outcome, { at, sequence }: MergeResult): void {
    this.history.accept(told, outcome)
    assert.ok(at > (this.moments.at(-1)?.at ?? at), 'time goes on')
    this.moments.push({ at, sequence })
  }

  private async end({ id }: RunHandle, status: 'failed'): Promise<void> {
    await this.database.query.updateTable('sync_runs').set({ status }).where('id', '=', id).execute()
  }

  /** A full run that missed nothing leaves exactly what there is. */
  private assertTruth(): void {
    const { users, groups, devices } = this.directory
    assert.equal(this.history.open.size, users.size + groups.size + devices.size)
  }

  private async fingerprint(): Promise<string> {
    const { rows } = await sql<{ print: string }>`
      select md5(coalesce(string_agg(one::text, ',' order by entity_id, first_seen_at), '')) as print
      from entity_revisions as one where config_id = ${this.owner.configId}`.execute(this.database.query)
    return rows[0]?.print ?? ''
  }

  /** All revisions, the state at any moment, the feed of changes, the counts. */
  private async compare(): Promise<void> {
    const { database, owner, history, moments } = this
    const revisions = await revisionsOf(database, owner)
    const numberOf = new Map(moments.map(({ sequence }, number) => [sequence, number]))
    const stored = revisions.map((revision) => {
      const openedIn = numberOf.get(revision.opened_in) ?? -1
      const closedIn = revision.closed_in === null ? undefined : numberOf.get(revision.closed_in)
      assert.deepEqual(revision.first_seen_at, moments[openedIn]?.at)
      assert.deepEqual(revision.ended_at, closedIn === undefined ? Infinity : moments[closedIn]?.at)
      assert.deepEqual(
        revision.group_uids,
        revision.groups.map(({ uid }) => uid),
      )
      const lastSeenIn = moments.findIndex(({ at }) => at.getTime() === revision.last_seen_at?.getTime())
      return lineOf({ ...revision, attributes: revision.attributes as never, openedIn }, closedIn, lastSeenIn)
    })
    const known = [
      ...[...history.open.values()].map((one) => lineOf(one, undefined, -1)),
      ...history.closed.map((one) => lineOf(one, one.closedIn, one.lastSeenIn ?? -1)),
    ]
    assert.deepEqual(stored.sort(), known.sort())

    for (const [number, { at }] of moments.entries()) {
      if (number === 0) continue
      const next = moments[number + 1]?.at ?? new Date(at.getTime() + 60_000)
      for (const moment of [at, new Date(next.getTime() - 1)]) await this.compareAt(moment, number)
    }
    await this.compareFeed()
    await this.compareCounts()
  }

  private async compareAt(moment: Date, number: number): Promise<void> {
    const { rows } = await sql<{ kind: number; uid: string; attributes: string }>`
      select kind, uid, attributes from entity_revisions
      where config_id = ${this.owner.configId} and first_seen_at <= ${moment} and ended_at > ${moment}
    `.execute(this.database.query)
    const state = this.history.states[number]
    assert.deepEqual(
      rows.map(({ kind, attributes }) => `${entityKinds[kind - 1]} ${attributes}`).sort(),
      [...(state?.values() ?? [])]
        .map(({ kind, attributes }) => `${kind} ${canonicalJson(attributes)}`)
        .sort(),
    )
  }

  /** Whoever follows the changes from one merge to the next ends with what is open. */
  private async compareFeed(): Promise<void> {
    const { database, owner, history, moments } = this
    const followed = new Map<string, string>()
    for (const { sequence } of moments) {
      const { rows } = await sql<{ entity_id: string; opened_in: number; content_hash: string }>`
        select entity_id, opened_in, content_hash from entity_revisions
        where organization_id = ${owner.organizationId} and config_id = ${owner.configId}
          and (opened_in = ${sequence} or closed_in = ${sequence})
        order by opened_in`.execute(database.query)
      for (const { entity_id, opened_in, content_hash } of rows)
        if (opened_in === sequence) followed.set(entity_id, content_hash)
        else followed.delete(entity_id)
    }
    assert.equal(followed.size, history.open.size)
  }

  private async compareCounts(): Promise<void> {
    const { database, owner, history } = this
    const sightings = await database.query
      .selectFrom('entity_sightings')
      .selectAll()
      .where('config_id', '=', owner.configId)
      .orderBy('kind')
      .execute()
    for (const { kind, open_count, membership_count, seen_at } of sightings) {
      const name = entityKinds[kind - 1] ?? 'identity'
      const open = [...history.open.values()].filter((one) => one.kind === name)
      assert.equal(open_count, open.length)
      assert.equal(membership_count, sum(open.map(({ groups }) => groups.length)))
      assert.deepEqual(seen_at, this.moments[history.seenIn.get(name) ?? -1]?.at)
    }
  }
}

const proofOf = ({ pages: _, ...proof }: Told) => proof satisfies Partial<Merge>

const isWholeTruth = ({ completeKinds }: Told, { fullness }: Step) =>
  completeKinds.length === entityKinds.length && fullness.missing === 0 && fullness.unreadable === 0

const sum = (numbers: readonly number[]) => numbers.reduce((total, one) => total + one, 0)

function lineOf(
  one: Omit<Known, 'closedIn' | 'lastSeenIn'>,
  closedIn: number | undefined,
  lastSeenIn: number,
): string {
  const activity = Object.entries(one.activity).sort(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify([one.kind, one.uid, one.openedIn, closedIn, lastSeenIn, contentOf(one), activity])
}

function assertCounts({ counts }: MergeResult, outcome: Outcome): void {
  assert.deepEqual(
    {
      added: sum(entityKinds.map((kind) => counts[kind].added)),
      changed: sum(entityKinds.map((kind) => counts[kind].changed)),
      removed: Object.fromEntries(entityKinds.map((kind) => [kind, counts[kind].removed])),
    },
    { added: outcome.added, changed: outcome.changed, removed: outcome.removed },
  )
}

/** As a crash of the database leaves it: tables that are not logged are empty. */
async function loseStages(database: Database, { id }: RunHandle): Promise<void> {
  const suffix = id.replaceAll('-', '')
  await database.pool.query(
    `truncate sync_stage.entities_${suffix}, sync_stage.memberships_${suffix}, sync_stage.facts_${suffix};
     delete from sync_stage.runs where run_id = '${id}'`,
  )
}
