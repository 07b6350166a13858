/** `credence lookup` and `credence entities`: who somebody is and was, what changed, and everything as lines. */
import { type Command, Option } from 'commander'
import type { ApiAnswer, ApiClient } from './api-client.ts'
import { writeLines } from './api-lines.ts'
import { differenceLines, differencesSchema, entitiesSchema, entityLines } from './entity-text.ts'
import { CommandError, exitCodes } from './exit-codes.ts'
import { readServerAccess } from './profiles.ts'
import {
  asking,
  type CommonOptions,
  hasDone,
  understood,
  type Variable,
  withServer,
} from './server-command.ts'
import { jsonLine, styleOf, write } from './terminal.ts'

const contextPath = '/api/v2/security_monitoring/entity_context'
const entitiesPath = '/api/v2/credence/entities'

const kinds = ['identity', 'group', 'device'] as const
const times = '2026-11-24T06:00:00Z, Unix seconds, or now-7d'

interface TypeOption {
  readonly type?: (typeof kinds)[number]
}

interface LookupOptions extends CommonOptions, TypeOption {
  readonly asOf?: string
  readonly from?: string
  readonly to?: string
}

interface DiffOptions extends CommonOptions, TypeOption {
  readonly from: string
  readonly to?: string
  readonly query?: string
}

interface LineOptions extends CommonOptions, TypeOption {
  readonly format?: string
  readonly raw?: boolean
}

export function addLookupCommands(program: Command, variable: Variable): void {
  asking(
    withType(program.command('lookup').argument('<who>', 'e-mail address, user name, id, name or query')),
  )
    .description('say who somebody is, and was: at a moment, or in the last week with every change')
    .option('--as-of <time>', `at this moment: ${times}`)
    .option('--from <time>', 'since this time instead of a week ago')
    .option('--to <time>', 'until this time')
    .action((who: string, options: LookupOptions) => lookUp(variable, who, options))

  const entities = program
    .command('entities')
    .description('take out what was synchronised: everything, what changes, what is different')

  lines(entities.command('export'))
    .description('print everything there is, or was at a moment, one entity a line (NDJSON)')
    .option('--as-of <time>', `at this moment: ${times}`)
    .action((options: LineOptions & { readonly asOf?: string }) =>
      print(variable, 'export', { as_of: options.asOf }, options),
    )

  lines(entities.command('changes'))
    .description('print what was created, updated and removed, one change a line (NDJSON)')
    .option('--after <cursor>', 'go on after the line with this cursor')
    .option('--follow', 'go on with what changes from now on')
    .action((options: LineOptions & { readonly after?: string; readonly follow?: boolean }) =>
      print(
        variable,
        'changes',
        { after: options.after, follow: options.follow ? 'true' : undefined },
        options,
      ),
    )

  asking(withType(entities.command('diff')))
    .description('say what is different between two moments')
    .requiredOption('--from <time>', `the first: ${times}`)
    .option('--to <time>', 'the second; now unless given')
    .option('--query <query>', 'of these entities alone')
    .action((options: DiffOptions) => diff(variable, options))
}

const withType = (command: Command): Command =>
  command.addOption(new Option('--type <type>', 'which entities').choices(kinds))

const lines = (command: Command): Command =>
  asking(
    withType(command)
      .addOption(new Option('--format <format>', 'form of the lines').choices(['credence', 'ocsf']))
      .option('--raw', 'with what else the source said'),
  )

/** Parameters that were given, as a query. */
function queryOf(parameters: Readonly<Record<string, string | undefined>>): string {
  const given = Object.entries(parameters).filter((one): one is [string, string] => one[1] !== undefined)
  return given.length === 0 ? '' : `?${new URLSearchParams(given)}`
}

const typeOf = (type: string | undefined) => (type === undefined ? undefined : `siem_entity_${type}`)

async function lookUp(variable: Variable, who: string, options: LookupOptions): Promise<void> {
  const { asOf, from, to, type, json } = options
  await withServer({ variable }, options, async (api) => {
    const path = `${contextPath}${queryOf({ query: who, as_of: asOf, from, to, entity_type: typeOf(type) })}`
    const answer = await ask(api, path)
    if (!(await hasDone(answer, options))) return
    const { data, meta } = understood(entitiesSchema, answer)
    if (data.length === 0) process.exitCode = exitCodes.no
    if (json) return write(process.stdout, jsonLine(answer.document))
    const style = styleOf(process.stdout)
    const more = meta.total_count - data.length
    await write(
      process.stdout,
      data.length === 0
        ? 'nobody is known by this\n'
        : data.map((entity) => entityLines(entity, style)).join('\n') +
            (more > 0 ? `\nand ${more} more: say more of whom you mean\n` : ''),
    )
  })
}

async function diff(variable: Variable, options: DiffOptions): Promise<void> {
  const { from, to, query, type } = options
  await withServer({ variable }, options, async (api) => {
    const style = styleOf(process.stdout)
    for (let token: string | undefined; token !== ''; ) {
      const path = `${entitiesPath}/diff${queryOf({ from, to, query, entity_type: typeOf(type), page_token: token })}`
      const answer = await ask(api, path)
      if (!(await hasDone(answer, options))) return
      const { data, meta } = understood(differencesSchema, answer)
      await write(
        process.stdout,
        options.json ? data.map(jsonLine).join('') : data.map((one) => differenceLines(one, style)).join(''),
      )
      token = meta.page.next_token
    }
  })
}

async function print(
  variable: Variable,
  what: 'export' | 'changes',
  parameters: Readonly<Record<string, string | undefined>>,
  options: LineOptions,
): Promise<void> {
  const server = await readServerAccess(options.profile, variable)
  const path = `${entitiesPath}/${what}${queryOf({
    ...parameters,
    entity_type: typeOf(options.type),
    format: options.format,
    include: options.raw ? 'raw' : undefined,
  })}`
  const answer = await writeLines(server, path, options.timeout * 1_000)
  if (answer !== undefined) await hasDone(entitled(answer), options)
}

const ask = async (api: ApiClient, path: string) => entitled(await api.ask({ method: 'GET', path }))

/** @throws CommandError for keys that may not do this */
function entitled(answer: ApiAnswer): ApiAnswer {
  const errors = (answer.document as { readonly errors?: unknown } | undefined)?.errors
  if (answer.status === 403 && Array.isArray(errors) && errors.length > 1)
    throw new CommandError(
      'the server refuses (403): the keys are right, but lack the permission siem_entities_read',
    )
  return answer
}
