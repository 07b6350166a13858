/** Syncs as text for people. */
import { z } from 'zod'
import { printable, type Style } from './terminal.ts'

const countSchema = z.number()

const errorSchema = z.looseObject({ title: z.string(), remedy: z.string() })

/** What we read of a run; a server may send more. */
const runSchema = z.object({
  id: z.string(),
  attributes: z.object({
    mode: z.string(),
    dry_run: z.boolean(),
    status: z.string(),
    reason: z.string(),
    requested_at: z.string(),
    ended_at: z.string().optional(),
    duration_ms: countSchema.optional(),
    pages: countSchema,
    seen: countSchema,
    changed: countSchema,
    removed: countSchema,
    provider_calls: countSchema,
    planned_calls: countSchema.optional(),
    throttled: countSchema,
    rate_per_second: z.number().optional(),
    remaining_seconds: countSchema.optional(),
    error: errorSchema.optional(),
    result: z
      .looseObject({
        held: z.array(z.object({ kind: z.string(), count: countSchema, of: countSchema })).optional(),
        sample: z.array(z.object({ change: z.string(), name: z.string(), uid: z.string() })).optional(),
        left_out: z.array(errorSchema).optional(),
        unreadable: z.looseObject({ count: countSchema }).optional(),
      })
      .optional(),
  }),
})
export type RunDocument = z.infer<typeof runSchema>
export const oneRunSchema = z.object({ data: runSchema })

const pageMetaSchema = z.object({ page: z.object({ next_token: z.string() }) })
export const runListSchema = z.object({ data: z.array(runSchema), meta: pageMetaSchema })

const statusSchema = z.object({
  id: z.string(),
  attributes: z.object({
    enabled: z.boolean(),
    paused: z.boolean(),
    schedule: z.object({
      incremental_minutes: countSchema,
      full_at: z.string().optional(),
      full_hours: countSchema.optional(),
    }),
    next_full_at: z.string().optional(),
    next_incremental_at: z.string().optional(),
    incremental_since: z.string().optional(),
    complete_at: z.string().optional(),
    entities: z.array(z.object({ entity_type: z.string(), count: countSchema, last_seen_at: z.string() })),
    failures: countSchema,
    last_error: errorSchema.optional(),
    budget: z.array(
      z.object({
        bucket: z.string(),
        rate_per_second: z.number(),
        throttled_until: z.string().optional(),
      }),
    ),
    active_run: runSchema.optional(),
    quarantined_run: runSchema.optional(),
  }),
})
export const oneStatusSchema = z.object({ data: statusSchema })
export type StatusDocument = z.infer<typeof statusSchema>

const plannedSchema = z.object({ title: z.string(), calls: countSchema.optional() })
export const onePlanSchema = z.object({
  data: z.object({
    attributes: z.object({
      full: z.object({
        lists: z.array(plannedSchema),
        memberships: z
          .object({
            by: z.string().optional(),
            calls: z.object({ group: countSchema.optional(), identity: countSchema.optional() }),
          })
          .optional(),
        calls: countSchema.optional(),
      }),
      incremental: z.object({ lists: z.array(plannedSchema), calls: countSchema.optional() }),
    }),
  }),
})
export type PlanDocument = z.infer<typeof onePlanSchema>['data']

export const removalListSchema = z.object({
  data: z.array(
    z.object({
      id: z.string(),
      attributes: z.object({ entity_type: z.string(), uid: z.string(), name: z.string() }),
    }),
  ),
  meta: pageMetaSchema.extend({ total_count: countSchema }),
})
export type RemovalDocument = z.infer<typeof removalListSchema>['data'][number]

/** What `sync run --json` prints: names and shape are fixed. */
export const runSummary = ({ attributes }: RunDocument) => ({
  status: attributes.status,
  mode: attributes.mode,
  pages: attributes.pages,
  seen: attributes.seen,
  changed: attributes.changed,
  removed: attributes.removed,
  provider_calls: attributes.provider_calls,
  duration_ms: attributes.duration_ms ?? 0,
})

const number = (count: number) => count.toLocaleString('en')

/** `1 h 05 min`, `2 min 07 s`, `3.2 s`. */
export function durationText(seconds: number): string {
  if (seconds < 60) return `${seconds < 10 ? Math.round(seconds * 10) / 10 : Math.round(seconds)} s`
  const whole = Math.round(seconds)
  const part = (size: number) => String(Math.floor(whole / size) % 60).padStart(2, '0')
  return whole < 3_600
    ? `${Math.floor(whole / 60)} min ${part(1)} s`
    : `${number(Math.floor(whole / 3_600))} h ${part(60)} min`
}

function statusMark(status: string, style: Style): string {
  const text = printable(status)
  switch (status) {
    case 'succeeded':
      return style.paint('green', `✓ ${text}`)
    case 'failed':
      return style.paint('red', `✗ ${text}`)
    case 'quarantined':
      return style.paint('yellow', `! ${text}`)
    default:
      return `· ${text}`
  }
}

const titleOf = ({ mode, dry_run }: RunDocument['attributes']) =>
  `${mode === 'full' ? 'Full sync' : 'Incremental sync'}${dry_run ? ', dry run' : ''}`

const kinds: Readonly<Record<string, string>> = {
  identity: 'people',
  group: 'groups',
  device: 'devices',
  membership: 'memberships',
}

/** How a run ended, and what there is to do about it. @param configId whose it is, for the commands */
export function runText(run: RunDocument, configId: string, style: Style): string {
  const { attributes } = run
  const { result = {} } = attributes
  const lines = [
    `${statusMark(attributes.status, style)}  ${titleOf(attributes)}${
      attributes.duration_ms === undefined ? '' : ` in ${durationText(attributes.duration_ms / 1000)}`
    }`,
    `  ${number(attributes.seen)} seen on ${number(attributes.pages)} pages, ${number(attributes.changed)} changed, ${number(attributes.removed)} removed`,
    `  ${number(attributes.provider_calls)} requests to the provider${
      attributes.planned_calls === undefined ? '' : `, ${number(attributes.planned_calls)} planned`
    }${
      attributes.throttled === 0 ? '' : `, ${number(attributes.throttled)} of them refused for their number`
    }`,
    `  run ${printable(run.id)}`,
  ]
  if (attributes.error !== undefined)
    lines.push('', `  ${printable(attributes.error.title)}`, `  ${printable(attributes.error.remedy)}`)
  for (const { title, remedy } of result.left_out ?? [])
    lines.push('', `  Left out: ${printable(title)}`, `  ${printable(remedy)}`)
  if (result.unreadable !== undefined)
    lines.push('', `  ${number(result.unreadable.count)} records could not be read`)
  if ((result.sample ?? []).length > 0) lines.push('')
  for (const { change, name, uid } of result.sample ?? [])
    lines.push(`  ${printable(change).padEnd(8)} ${printable(name)} (${printable(uid)})`)
  if (attributes.status === 'quarantined') {
    const held = (result.held ?? []).map(
      ({ kind, count, of }) => `${number(count)} of ${number(of)} ${kinds[kind] ?? printable(kind)}`,
    )
    lines.push(
      '',
      `  Nothing was applied: it would remove ${held.length === 0 ? 'more than the fuse lets pass' : held.join(', ')}.`,
      `  credence sync removals --config ${configId}`,
      `  credence sync approve --config ${configId}`,
      `  credence sync reject --config ${configId}`,
    )
  }
  return `${lines.join('\n')}\n`
}

/** One line while a run goes on. */
export function progressText({ attributes }: RunDocument): string {
  const { status, pages, seen, provider_calls, rate_per_second, remaining_seconds } = attributes
  if (status === 'queued') return 'waits for its turn'
  return [
    `${number(seen)} seen`,
    `${number(pages)} pages`,
    `${number(provider_calls)} requests`,
    ...(rate_per_second === undefined ? [] : [`${number(Math.round(rate_per_second))}/s`]),
    ...(remaining_seconds === undefined ? [] : [`about ${durationText(remaining_seconds)} left`]),
  ].join(', ')
}

export function runLines(runs: readonly RunDocument[], style: Style): string {
  return runs
    .map(({ id, attributes }) => {
      const { requested_at, mode, dry_run, status, seen, changed, removed } = attributes
      return `${[
        printable(id),
        printable(requested_at),
        `${printable(mode)}${dry_run ? ' (dry)' : ''}`.padEnd(12),
        statusMark(status, style),
        `${number(seen)} seen, ${number(changed)} changed, ${number(removed)} removed`,
      ].join('  ')}\n`
    })
    .join('')
}

export const removalLines = (removals: readonly RemovalDocument[]): string =>
  removals
    .map(
      ({ attributes: { entity_type, uid, name } }) =>
        `${printable(entity_type)}  ${printable(name)} (${printable(uid)})\n`,
    )
    .join('')

export function statusText({ id, attributes }: StatusDocument, style: Style): string {
  const { schedule, active_run: active, quarantined_run: quarantined } = attributes
  const full =
    schedule.full_hours === undefined
      ? `full daily at ${printable(schedule.full_at ?? '?')} UTC`
      : `full every ${number(schedule.full_hours)} h`
  const increments =
    schedule.incremental_minutes === 0
      ? 'no increments'
      : `increments every ${number(schedule.incremental_minutes)} min`
  const optional = (member: string, value: string | undefined) =>
    value === undefined ? [] : [[member, printable(value)] as const]
  const members: readonly (readonly [string, string])[] = [
    ['sync', attributes.enabled ? (attributes.paused ? 'paused' : 'on') : 'off'],
    ['schedule', `${full}, ${increments}`],
    ...optional('next full', attributes.next_full_at),
    ...optional('next increment', attributes.next_incremental_at),
    ...optional('complete at', attributes.complete_at),
    ...optional('followed until', attributes.incremental_since),
    ...attributes.entities.map(
      ({ entity_type, count, last_seen_at }) =>
        [printable(entity_type), `${number(count)}, seen ${printable(last_seen_at)}`] as const,
    ),
    ...attributes.budget.map(
      ({ bucket, rate_per_second, throttled_until }) =>
        [
          `budget ${printable(bucket)}`,
          `${rate_per_second.toFixed(2)} requests a second${throttled_until === undefined ? '' : `, none before ${printable(throttled_until)}`}`,
        ] as const,
    ),
  ]
  const width = Math.max(...members.map(([member]) => member.length))
  const lines = members.map(([member, value]) => `  ${member.padEnd(width)}  ${value}`)
  const error =
    attributes.failures === 0
      ? ''
      : `\n${style.paint('red', `✗ ${number(attributes.failures)} ${attributes.failures === 1 ? 'run' : 'runs in a row'} failed`)}${
          attributes.last_error === undefined
            ? ''
            : `: ${printable(attributes.last_error.title)}\n  ${printable(attributes.last_error.remedy)}`
        }\n`
  return [
    `Syncs of ${printable(id)}\n${lines.join('\n')}\n${error}`,
    ...(active === undefined ? [] : [`\n${titleOf(active.attributes)}: ${progressText(active)}\n`]),
    ...(quarantined === undefined ? [] : [`\n${runText(quarantined, id, style)}`]),
  ].join('')
}

export function planText({ attributes: { full, incremental } }: PlanDocument): string {
  const calls = (count: number | undefined) => (count === undefined ? 'not known yet' : number(count))
  const rows: [string, string][] = full.lists.map((list) => [printable(list.title), calls(list.calls)])
  if (full.memberships !== undefined) {
    const { by, calls: walks } = full.memberships
    const names: Readonly<Record<string, string>> = {
      group: 'asking each group',
      identity: 'asking each user',
    }
    const chosen = by === 'group' ? walks.group : by === 'identity' ? walks.identity : undefined
    rows.push([`Memberships${by === undefined ? '' : `, ${names[by] ?? printable(by)}`}`, calls(chosen)])
  }
  // Even a list without anything on it takes a request.
  const atLeast = full.lists.reduce((sum, list) => sum + (list.calls ?? 1), 0)
  rows.push(['In all', full.calls === undefined ? `at least ${number(atLeast)}` : number(full.calls)])
  const width = Math.max(...rows.map(([name]) => name.length))
  const lines = rows.map(([name, count]) => `  ${name.padEnd(width)}  ${count}`)
  const increment =
    incremental.lists.length === 0
      ? 'The source tells no changes: everything is read each time.'
      : `An increment: ${incremental.calls === undefined ? 'not known yet' : `${number(incremental.calls)}, as the last one took`}`
  return `Requests to the provider\nA full sync:\n${lines.join('\n')}\n${increment}\n`
}
