/** What the demo shows of history: a person's, over some days that pass at once. */
import { setTimeout as wait } from 'node:timers/promises'
import { z } from 'zod'
import type { Change, LivingDirectory } from '../../sandbox/living-directory.ts'
import type { ExampleAttributes } from '../../sandbox/provider.ts'
import { oneConfigSchema } from './config-text.ts'
import { fold, printable, type Style } from './terminal.ts'

/** The demo's own time: set back for a history, and otherwise the machine's. */
export interface DemoClock {
  now(): Date
  /** So many days before the machine's time; 0 is the present. */
  goBack(days: number): void
}

const dayMs = 86_400_000

export function createDemoClock(): DemoClock {
  let behindMs = 0
  return {
    now: () => new Date(Date.now() - behindMs),
    goBack: (days) => {
      behindMs = days * dayMs
    },
  }
}

export interface HistoryParts {
  readonly clock: DemoClock
  /** Of the provider that `attributes` are valid for. */
  readonly directory: LivingDirectory
  readonly attributes: ExampleAttributes
  /** Marks the configuration, so that one which a killed demo left behind is known. */
  readonly settings: object
  ask(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object): Promise<Answer>
}

export interface Answer {
  readonly status: number
  readonly document: unknown
}

const configsPath = '/api/v2/security_monitoring/configuration/integration_config'
const contextPath = '/api/v2/security_monitoring/entity_context'

const runSchema = z.object({
  data: z.object({
    id: z.string(),
    attributes: z.object({
      status: z.string(),
      changed: z.number(),
      removed: z.number(),
      provider_calls: z.number(),
    }),
  }),
})
type Run = z.infer<typeof runSchema>['data']

const historySchema = z.object({
  data: z.array(
    z.object({
      attributes: z.object({
        revisions: z.array(
          z.object({
            first_seen_at: z.string(),
            last_seen_at: z.string(),
            attributes: z.looseObject({
              uid: z.string(),
              job_title: z.string().optional(),
              groups: z.array(z.object({ name: z.string() })).optional(),
            }),
          }),
        ),
      }),
    }),
  ),
})

/** Somebody who is in more than the group of everybody, so that there is something to lose. */
function subjectOf(directory: LivingDirectory): number {
  for (let person = 1; person < directory.userCount; person++) {
    if (directory.person(person).status === 'active' && directory.groupsOf(person).length > 1) return person
  }
  return 1
}

/** Lines that tell what happened on each day, what the sync made of it, and what is known of the person now. */
export async function liveThroughDays(parts: HistoryParts, style: Style): Promise<string[]> {
  const { clock, directory, ask } = parts
  const person = subjectOf(directory)
  const { givenName, familyName, email } = directory.person(person)
  const group = directory.groupsOf(person).find((one) => one !== 0) ?? 0
  const name = `${givenName} ${familyName}`
  const days: readonly { readonly changes: readonly Change[]; readonly what: string }[] = [
    { changes: [], what: 'everybody is read for the first time' },
    {
      changes: [
        { what: 'edit', person, edit: { title: 'Head of Security' } },
        { what: 'quit', person, group },
      ],
      what: `${name} becomes Head of Security and leaves the group ${directory.group(group).name}`,
    },
    { changes: [{ what: 'leave', person }], what: `${name} leaves the organisation` },
    { changes: [], what: 'nothing happens' },
    { changes: [{ what: 'return', person }], what: `${name} is back, with a new account` },
  ]
  const lines: string[] = []
  const say = (text: string) => lines.push(...fold(printable(text), style.width, ''))
  let id: string | undefined
  try {
    for (const [index, { changes, what }] of days.entries()) {
      const ago = days.length - 1 - index
      clock.goBack(ago)
      for (const change of changes) directory.change(change, clock.now())
      const run =
        id === undefined
          ? await begun(parts, (made) => {
              id = made
            })
          : await synchronised(parts, id)
      if (id === undefined || run === undefined) return [...lines, 'It could not be made.']
      const { status, changed, removed, provider_calls } = run.attributes
      say(
        `${ago === 0 ? 'Today' : ago === 1 ? 'Yesterday' : `${ago} days ago`}: ${what}. The sync ${status}: ${changed} changed, ${removed} removed, ${provider_calls} requests to the provider.`,
      )
    }
    lines.push('')
    const found = await ask('GET', `${contextPath}?query=${encodeURIComponent(email)}`)
    say(`GET …/entity_context?query=${email}`)
    const history = historySchema.safeParse(found.document)
    const stays = (history.data?.data ?? [])
      .flatMap(({ attributes: { revisions } }) => revisions)
      .sort((one, other) => (one.first_seen_at < other.first_seen_at ? -1 : 1))
    for (const { attributes: known, ...revision } of stays) {
      const groups = (known.groups ?? []).map((one) => one.name).join(', ')
      say(
        `  ${short(revision.first_seen_at)}, last seen ${short(revision.last_seen_at)}: ${known.job_title ?? 'no title'}; in ${groups === '' ? 'no group' : groups}; id ${known.uid}`,
      )
    }
    const asOf = new Date(clock.now().getTime() - 1.5 * dayMs).toISOString()
    const gone = await ask('GET', `${contextPath}?query=${encodeURIComponent(email)}&as_of=${asOf}`)
    const count = z.object({ data: z.array(z.unknown()) }).safeParse(gone.document).data?.data.length ?? 0
    say(`The same with as_of=${asOf}: ${count === 0 ? 'nobody, as it was then' : `${count} found`}`)
    return lines
  } finally {
    clock.goBack(0)
    if (id !== undefined) await ask('DELETE', `${configsPath}/${id}`)
  }
}

const short = (time: string) => time.slice(0, 16).replace('T', ' ')

/** Makes the configuration, and has everything read for the first time. */
async function begun(
  { attributes, settings, ask }: HistoryParts,
  onMade: (id: string) => void,
): Promise<Run | undefined> {
  const made = await ask('POST', configsPath, {
    data: {
      type: 'integration_config',
      attributes: {
        ...attributes,
        name: 'Days of a person',
        // Nothing is due by itself while days pass at once.
        settings: { ...settings, sync: { enabled: false } },
      },
    },
  })
  const config = oneConfigSchema.safeParse(made.document)
  if (!config.success) return undefined
  const { id } = config.data.data
  onMade(id)
  return synchronised({ ask }, id)
}

/** Has everything read, and waits for the end. */
async function synchronised({ ask }: Pick<HistoryParts, 'ask'>, id: string): Promise<Run | undefined> {
  const path = `/api/v2/credence/sync/${id}/runs`
  const asked = await ask('POST', path, { data: { type: 'sync_run', attributes: { mode: 'full' } } })
  let run = runSchema.safeParse(asked.document)
  while (run.success && ['queued', 'running'].includes(run.data.data.attributes.status)) {
    await wait(100)
    const answer = await ask('GET', `${path}/${run.data.data.id}`)
    run = runSchema.safeParse(answer.document)
  }
  return run.data?.data
}
