/** `credence sync`: syncs of configurations on a server. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Command } from 'commander'
import { InvalidArgumentError, Option } from 'commander'
import { CommandError, CouldNotTell, exitCodes } from './exit-codes.ts'
import {
  asking,
  type CommonOptions,
  configId,
  hasDone,
  serverHelp,
  understood,
  type Variable,
  withServer,
} from './server-command.ts'
import {
  onePlanSchema,
  oneRunSchema,
  oneStatusSchema,
  planText,
  progressText,
  type RunDocument,
  removalLines,
  removalListSchema,
  runLines,
  runListSchema,
  runSummary,
  runText,
  type StatusDocument,
  statusText,
} from './sync-text.ts'
import { jsonLine, printable, styleOf, write } from './terminal.ts'

interface ConfigOptions extends CommonOptions {
  readonly config: string
}

const syncPath = '/api/v2/credence/sync'
const pathOf = ({ config }: Pick<ConfigOptions, 'config'>) => `${syncPath}/${config}`

/** How often it is asked how far a run is, in milliseconds: at first, as small ones are soon over, */
const firstLookMs = 100
/** and after twice as long each time, at last. */
const lookMs = 1_000
/** How long a server may be away while a run is waited for, in milliseconds: it may be starting anew. */
const patienceMs = 120_000
/** Off a terminal a line is written after so long, in milliseconds, */
const firstLineMs = 1_000
/** and after twice as long each time, up to this. */
const lineMs = 10_000
const defaultLimit = 20

export function addSyncCommand(program: Command, variable: Variable): void {
  const parts = { variable }
  const sync = program
    .command('sync')
    .description('synchronise the people, groups and devices of a configuration, and see how it stands')
    .addHelpText('after', `\n${serverHelp}`)

  of(sync.command('run'))
    .description('synchronise now and wait for the end; exit status 0 only if it succeeded')
    .option('--full', 'read everything, not only what has changed')
    .option('--dry-run', 'count what would change, and change nothing')
    .option('--watch', 'show counts, rate and remaining time meanwhile')
    .action((options: RunOptions) => run(parts, options))

  of(sync.command('status'))
    .description('how the syncs of a configuration stand, and when they go on')
    .action((options: ConfigOptions) => status(parts, options))

  of(sync.command('plan'))
    .description('how many requests to the provider a sync is thought to take')
    .action((options: ConfigOptions) => plan(parts, options))

  of(sync.command('runs'))
    .description('list the syncs of a configuration, the newest first')
    .addOption(limitOption())
    .action((options: ListOptions) => runs(parts, options))

  of(sync.command('cancel'))
    .description('cancel the sync that is queued or under way')
    .action((options: ConfigOptions) => step(parts, options, 'cancel'))

  withRun(of(sync.command('removals')))
    .description('list what the sync that waits for approval would remove')
    .addOption(limitOption())
    .action((options: ListOptions) => removals(parts, options))

  withRun(of(sync.command('approve')))
    .description('have the sync that waits for approval applied, and wait for the end')
    .option('--watch', 'show how it goes meanwhile')
    .action((options: ConfigOptions & Watched) => approve(parts, options))

  withRun(of(sync.command('reject')))
    .description('give the sync that waits for approval up')
    .action((options: ConfigOptions & OfRun) => step(parts, options, 'reject'))

  of(sync.command('pause'))
    .description('begin no sync of a configuration by itself any more')
    .action((options: ConfigOptions) => flip(parts, options, 'pause'))

  of(sync.command('resume'))
    .description('go on with the syncs of a configuration')
    .action((options: ConfigOptions) => flip(parts, options, 'resume'))
}

const of = (command: Command): Command =>
  asking(command.requiredOption('--config <id>', 'the configuration, as in configs list', configId))

const withRun = (command: Command): Command =>
  command.option('--run <id>', 'this run; by default the one that waits for approval', configId)

const limitOption = () =>
  new Option('--limit <number>', 'list at most so many').argParser(limit).default(defaultLimit)

function limit(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('It is a whole number from 1 to 999999.')
  return Number(text)
}

interface Parts {
  readonly variable: Variable
}
interface Watched {
  readonly watch?: boolean
}
interface OfRun {
  readonly run?: string
}
interface RunOptions extends ConfigOptions, Watched {
  readonly full?: boolean
  readonly dryRun?: boolean
}
interface ListOptions extends ConfigOptions, OfRun {
  readonly limit: number
}

async function run(parts: Parts, options: RunOptions): Promise<void> {
  const begun = await withServer(parts, options, async (api) => {
    const answer = await api.ask({
      method: 'POST',
      path: `${pathOf(options)}/runs`,
      body: {
        data: {
          type: 'sync_run',
          attributes: {
            ...(options.full && { mode: 'full' }),
            ...(options.dryRun && { dry_run: true }),
          },
        },
      },
    })
    return (await hasDone(answer, options)) ? understood(oneRunSchema, answer).data : undefined
  })
  if (begun !== undefined) await tellEnd(options, await waitForEnd(parts, options, begun))
}

/** Nobody lets go whom they may not see. */
const approvalNeeds = 'manage_integrations, and siem_entities_read to see whom it would remove'

async function approve(parts: Parts, options: ConfigOptions & Watched & OfRun): Promise<void> {
  const id = options.run ?? (await waitingRun(parts, options))
  if (id === undefined) return
  const approved = await withServer(parts, options, async (api) => {
    const answer = await api.ask({ method: 'POST', path: `${pathOf(options)}/runs/${id}/approve` })
    return (await hasDone(answer, options, approvalNeeds)) ? understood(oneRunSchema, answer).data : undefined
  })
  if (approved !== undefined) await tellEnd(options, await waitForEnd(parts, options, approved))
}

async function tellEnd(options: ConfigOptions, ended: RunDocument): Promise<void> {
  await write(
    process.stdout,
    options.json ? jsonLine(runSummary(ended)) : runText(ended, options.config, styleOf(process.stdout)),
  )
  process.exitCode = ended.attributes.status === 'succeeded' ? exitCodes.ok : exitCodes.no
}

const isOver = ({ attributes: { status } }: RunDocument) => status !== 'queued' && status !== 'running'

/** Asks until the run has ended, with patience for a server that is away for a while. */
async function waitForEnd(
  parts: Parts,
  options: ConfigOptions & Watched,
  begun: RunDocument,
): Promise<RunDocument> {
  const show = options.watch ? progressWriter(process.stderr) : undefined
  let known = begun
  let heardAtMs = performance.now()
  try {
    for (let pauseMs = firstLookMs; !isOver(known); pauseMs = Math.min(pauseMs * 2, lookMs)) {
      show?.write(progressText(known))
      await delay(pauseMs)
      try {
        known = await withServer(parts, options, async (api) => {
          const answer = await api.ask({ method: 'GET', path: `${pathOf(options)}/runs/${begun.id}` })
          // What is refused is told in a line, as it is not what was asked for.
          await hasDone(answer, {})
          return understood(oneRunSchema, answer).data
        })
        heardAtMs = performance.now()
      } catch (error) {
        if (!(error instanceof CouldNotTell) || performance.now() - heardAtMs > patienceMs) throw error
      }
    }
  } finally {
    show?.clear()
  }
  return known
}

/** Shows a line that takes the place of the one before on a terminal, and a line now and then off it. */
function progressWriter(stream: NodeJS.WriteStream) {
  let dueAtMs = Number.NEGATIVE_INFINITY
  let pauseMs = firstLineMs
  let isShown = false
  return {
    write(text: string) {
      if (stream.isTTY) {
        stream.write(`\r\x1b[K${text}`)
        isShown = true
        return
      }
      if (performance.now() < dueAtMs) return
      dueAtMs = performance.now() + pauseMs
      pauseMs = Math.min(pauseMs * 2, lineMs)
      stream.write(`${text}\n`)
    },
    clear() {
      if (isShown) stream.write('\r\x1b[K')
    },
  }
}

/** Id of the run that waits for approval. */
async function waitingRun(parts: Parts, options: ConfigOptions): Promise<string | undefined> {
  const found = await readStatus(parts, options)
  if (found === undefined) return undefined
  const waiting = found.status.attributes.quarantined_run
  if (waiting === undefined) throw new CommandError('no sync of this configuration waits for approval')
  return waiting.id
}

async function readStatus(
  parts: Parts,
  options: ConfigOptions,
): Promise<{ readonly status: StatusDocument; readonly document: unknown } | undefined> {
  return withServer(parts, options, async (api) => {
    const answer = await api.ask({ method: 'GET', path: pathOf(options) })
    if (!(await hasDone(answer, options))) return undefined
    return { status: understood(oneStatusSchema, answer).data, document: answer.document }
  })
}

async function status(parts: Parts, options: ConfigOptions): Promise<void> {
  const found = await readStatus(parts, options)
  if (found === undefined) return
  await write(
    process.stdout,
    options.json ? jsonLine(found.document) : statusText(found.status, styleOf(process.stdout)),
  )
}

async function plan(parts: Parts, options: ConfigOptions): Promise<void> {
  await withServer(parts, options, async (api) => {
    const answer = await api.ask({ method: 'GET', path: `${pathOf(options)}/plan` })
    if (!(await hasDone(answer, options))) return
    const { data } = understood(onePlanSchema, answer)
    await write(process.stdout, options.json ? jsonLine(answer.document) : planText(data))
  })
}

async function runs(parts: Parts, options: ListOptions): Promise<void> {
  await listAll(parts, options, `${pathOf(options)}/runs`, runListSchema, (page) =>
    runLines(page, styleOf(process.stdout)),
  )
}

async function removals(parts: Parts, options: ListOptions): Promise<void> {
  const id = options.run ?? (await waitingRun(parts, options))
  if (id === undefined) return
  const path = `${pathOf(options)}/runs/${id}/removals`
  await listAll(parts, options, path, removalListSchema, removalLines, 'siem_entities_read')
}

/** Prints what is on the pages of a list, up to the limit; as one document with --json. */
async function listAll<T>(
  parts: Parts,
  options: ListOptions,
  path: string,
  schema: Parameters<typeof understood<ListPage<T>>>[0],
  textOf: (page: readonly T[]) => string,
  needs?: string,
): Promise<void> {
  await withServer(parts, options, async (api) => {
    const documents: unknown[] = []
    let left = options.limit
    for (let token = ''; left > 0; ) {
      const query = new URLSearchParams({ limit: String(Math.min(left, largestPage)) })
      if (token !== '') query.set('page_token', token)
      const answer = await api.ask({ method: 'GET', path: `${path}?${query}` })
      if (!(await hasDone(answer, options, needs))) return
      const { data, meta } = understood(schema, answer)
      if (options.json) documents.push(...(answer.document as { readonly data: unknown[] }).data)
      else await write(process.stdout, textOf(data))
      left -= data.length
      token = meta.page.next_token
      if (token === '' || data.length === 0) break
    }
    if (options.json) await write(process.stdout, jsonLine({ data: documents }))
  })
}

interface ListPage<T> {
  readonly data: readonly T[]
  readonly meta: { readonly page: { readonly next_token: string } }
}

/** The server's own bound. */
const largestPage = 1_000

/** Cancels what is active, or rejects what waits. */
async function step(parts: Parts, options: ConfigOptions & OfRun, name: 'cancel' | 'reject'): Promise<void> {
  const id =
    options.run ?? (name === 'cancel' ? await activeRun(parts, options) : await waitingRun(parts, options))
  if (id === undefined) return
  await withServer(parts, options, async (api) => {
    const answer = await api.ask({ method: 'POST', path: `${pathOf(options)}/runs/${id}/${name}` })
    if (!(await hasDone(answer, options))) return
    const { data } = understood(oneRunSchema, answer)
    const isAsked = data.attributes.status === 'running'
    await write(
      process.stdout,
      options.json
        ? jsonLine(answer.document)
        : `${name === 'cancel' ? (isAsked ? 'is being cancelled' : 'cancelled') : 'rejected'}: run ${printable(data.id)}\n`,
    )
  })
}

async function activeRun(parts: Parts, options: ConfigOptions): Promise<string | undefined> {
  const found = await readStatus(parts, options)
  if (found === undefined) return undefined
  const active = found.status.attributes.active_run
  if (active === undefined) throw new CommandError('no sync of this configuration is queued or under way')
  return active.id
}

async function flip(parts: Parts, options: ConfigOptions, name: 'pause' | 'resume'): Promise<void> {
  await withServer(parts, options, async (api) => {
    const answer = await api.ask({ method: 'POST', path: `${pathOf(options)}/${name}` })
    if (!(await hasDone(answer, options))) return
    const { data } = understood(oneStatusSchema, answer)
    await write(
      process.stdout,
      options.json ? jsonLine(answer.document) : statusText(data, styleOf(process.stdout)),
    )
  })
}
