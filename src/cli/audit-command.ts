/** `credence audit`: the audit trail of all organisations, for the operator, straight from the database. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { AuditQuery, RecordedEvent } from '../store/audit.ts'
import { dataDirOption } from './data-dir.ts'
import { CommandError } from './exit-codes.ts'
import { moment } from './moment.ts'
import { jsonLine, printable, write } from './terminal.ts'

interface FilterOptions {
  readonly dataDir: string
  readonly organization?: string
  readonly from?: Date
  readonly to?: Date
  readonly action?: string
  readonly target?: string
  readonly actor?: string
}

const defaultLimit = 50
/** Events read at a time for an export. */
const batchSize = 1_000

export function addAuditCommand(program: Command): void {
  const audit = program.command('audit').description('read the audit trail of all organisations')

  filtered(audit.command('list'))
    .description('list events in the order in which they were recorded')
    .addOption(new Option('--limit <number>', 'list at most so many').argParser(count).default(defaultLimit))
    .option('--json', 'print one JSON document')
    .action(list)

  filtered(audit.command('export'))
    .description('print every event that matches as one line of JSON (NDJSON)')
    .action(exportAll)
}

const filtered = (command: Command): Command =>
  command
    .option('--organization <name>', 'of this organisation alone, by name or id')
    .option('--from <time>', 'at this time and later: 2030-01-31T08:00:00Z, 2030-01-31 or now-7d', moment)
    .option('--to <time>', 'before this time', moment)
    .option('--action <name>', 'such as integration_config.update')
    .option('--target <id>', 'of what was acted on')
    .option('--actor <name>', 'such as key:<id> or cli')
    .addOption(dataDirOption())

function count(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('It is a whole number from 1 to 999999.')
  return Number(text)
}

async function list(
  options: FilterOptions & { readonly limit: number; readonly json?: boolean },
): Promise<void> {
  const events: RecordedEvent[] = []
  await readEvents(options, options.limit, async (batch) => {
    events.push(...batch)
  })
  await write(
    process.stdout,
    options.json ? jsonLine({ events: events.map(documentOf) }) : events.map(textOf).join(''),
  )
}

async function exportAll(options: FilterOptions): Promise<void> {
  await readEvents(options, Number.POSITIVE_INFINITY, (batch) =>
    write(process.stdout, batch.map((event) => jsonLine(documentOf(event))).join('')),
  )
}

/** Hands over the events in batches, so that no trail is too long. */
async function readEvents(
  { dataDir, organization: nameOrId, from, to, action, target, actor }: FilterOptions,
  limit: number,
  use: (batch: readonly RecordedEvent[]) => Promise<void>,
): Promise<void> {
  // Slow to load, and not needed by commands that only validate.
  const { withDatabase } = await import('./stored-data.ts')
  const { findAuditEvents } = await import('../store/audit.ts')
  const { findOrganization } = await import('../store/organizations.ts')
  await withDatabase(dataDir, async ({ query }) => {
    const organization = nameOrId === undefined ? undefined : await findOrganization(query, nameOrId)
    if (nameOrId !== undefined && organization === undefined)
      throw new CommandError('no organisation has this name or id')
    const wanted: Omit<AuditQuery, 'limit'> = {
      ...(organization && { organizationId: organization.id }),
      ...(from && { from }),
      ...(to && { to }),
      ...(action !== undefined && { action }),
      ...(target !== undefined && { target }),
      ...(actor !== undefined && { actor }),
    }
    let after: number | undefined
    for (let left = limit; left > 0; ) {
      const size = Math.min(batchSize, left)
      const batch = await findAuditEvents(query, {
        ...wanted,
        ...(after !== undefined && { after }),
        limit: size,
      })
      await use(batch)
      if (batch.length < size) return
      left -= batch.length
      after = batch.at(-1)?.id
    }
  })
}

const documentOf = (event: RecordedEvent) => ({
  id: String(event.id),
  at: event.at.toISOString(),
  ...(event.organization_id !== null && { organization: event.organization_id }),
  actor: event.actor,
  action: event.action,
  ...(event.target !== null && { target: event.target }),
  outcome: event.outcome,
  ...(event.address !== null && { address: event.address }),
  ...(event.request_id !== null && { request_id: event.request_id }),
  details: event.details,
})

const textOf = (event: RecordedEvent) =>
  `${[
    event.at.toISOString(),
    event.outcome,
    printable(event.action),
    event.target === null ? '-' : printable(event.target),
    printable(event.actor),
    printable(JSON.stringify(event.details)),
  ].join('  ')}\n`
