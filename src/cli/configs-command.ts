/** `credence configs`: configurations on a server. */
import { Argument, type Command, InvalidArgumentError } from 'commander'
import { type AnySource, createSources, sourceByIntegrationType, sourceByName } from '../sources/registry.ts'
import type { Report } from '../validation/report.ts'
import type { ApiAnswer, ApiClient } from './api-client.ts'
import { addSettingsOptions, readSettings, type SettingsOptions } from './config-settings.ts'
import {
  type ConfigDocument,
  configLines,
  configListSchema,
  configText,
  oneConfigSchema,
  reportIn,
  titleOf,
} from './config-text.ts'
import {
  addCredentialOptions,
  addCredentialOptionsOfAll,
  credentialHelp,
  givesCredentials,
  inputInTime,
  readSecrets,
} from './credential-options.ts'
import { CommandError, CouldNotTell, UsageError } from './exit-codes.ts'
import { reportText } from './report-text.ts'
import {
  asking,
  type CommonOptions,
  configId,
  exitCodeOf,
  hasDone,
  isSuccess,
  notUnderstood,
  serverHelp,
  understood,
  type Variable,
  withServer,
} from './server-command.ts'
import { jsonLine, printable, styleOf, write } from './terminal.ts'

const configsPath = '/api/v2/security_monitoring/configuration/integration_config'

/** `variable` reads a variable of the environment. */
export function addConfigsCommand(program: Command, variable: Variable): void {
  const configs = program
    .command('configs')
    .description(
      'keep configurations on a server: credentials that were proved, sealed there and validated again',
    )
    .addHelpText('after', `\n${serverHelp}`)
  const sources = createSources()
  const parts = { variable, sources }

  const create = configs
    .command('create')
    .description('prove credentials and keep them; nothing is kept unless they are valid')
    .addHelpText('after', `\n${serverHelp}`)
  for (const source of sources) addCreate(create, source, variable)

  asking(configs.command('list'))
    .description('list the configurations of your organisation')
    .option('--source <source>', 'of this source alone', sourceNamed)
    .action((options: CommonOptions & { readonly source?: AnySource }) => list(parts, options))

  asking(withId(configs.command('get')))
    .description('show a configuration, and its last validation check by check')
    .action((id: string, options: CommonOptions) => get(parts, id, options))

  const update = withId(configs.command('update'))
    .description(
      'change a configuration; new credentials have to be complete, and are proved before they replace the old ones',
    )
    .option('--name <name>', 'for people')
    .option('--domain <domain>', 'another domain at the provider, which needs new credentials')
    .option('--enable', 'switch its sync on')
    .option('--disable', 'switch its sync off')
  addSettingsOptions(update)
  addCredentialOptionsOfAll(update, sources)
  asking(update).action((id: string, options: UpdateOptions) => change(parts, id, options))

  asking(withId(configs.command('delete')))
    .description('delete a configuration and destroy its secrets')
    .action((id: string, options: CommonOptions) => remove(parts, id, options))

  asking(withId(configs.command('validate')))
    .description('validate the stored credentials of a configuration now')
    .action((id: string, options: CommonOptions) => validateStored(parts, id, options))

  const activation = withSource(configs.command('activate'))
    .description(
      "switch on the configuration of a source; where there is none, make it from the operator's credentials",
    )
    .option('--domain <domain>', 'that of this domain')
    .option('--name <name>', 'of one that is made')
  asking(addSettingsOptions(activation)).action((source: AnySource, options: ActivateOptions) =>
    activate(parts, source, options),
  )

  asking(withSource(configs.command('deactivate')))
    .description('switch off all configurations of a source')
    .action((source: AnySource, options: CommonOptions) => deactivate(parts, source, options))
}

const withId = (command: Command) => command.argument('<id>', 'as in configs list', configId)

const withSource = (command: Command) =>
  command.addArgument(
    new Argument(
      '<source>',
      createSources()
        .map(({ name }) => name)
        .join(', '),
    ).argParser(sourceNamed),
  )

/** By its name here, or as it is on the wire. */
function sourceNamed(text: string): AnySource {
  const source = sourceByName(createSources(), text.toLowerCase().replaceAll('_', '-'))
  if (source === undefined)
    throw new InvalidArgumentError(
      `There are ${createSources()
        .map(({ name }) => name)
        .join(', ')}.`,
    )
  return source
}

interface Parts {
  readonly variable: Variable
  readonly sources: readonly AnySource[]
}

interface CreateOptions extends CommonOptions, SettingsOptions {
  readonly domain: string
  readonly name: string
}

function addCreate(create: Command, source: AnySource, variable: Variable): void {
  const command = create
    .command(source.name)
    .description(`keep credentials of ${source.title}`)
    .requiredOption('--domain <domain>', source.domainField.help)
    .requiredOption('--name <name>', 'for people, to tell it from others')
  addSettingsOptions(command)
  addCredentialOptions(command, source)
  const own =
    source.operator === undefined
      ? ''
      : "\n\nWhat is left out may be the operator's: a server whose operator holds credentials for your domain completes it."
  asking(command.addHelpText('after', `\n${credentialHelp(source)}${own}`)).action(
    async ({ domain, name, ...options }: CreateOptions & Record<string, unknown>) => {
      if (domain.trim() === '') throw new UsageError('--domain is empty')
      const settings = await readSettings(options)
      const secrets = await inputInTime(options.timeout, variable, (input) =>
        readSecrets(source, options, input),
      )
      await withServer({ variable }, options, async (api) => {
        const answer = await api.ask({
          method: 'POST',
          path: configsPath,
          body: bodyOf({
            integration_type: source.integrationType,
            domain,
            name,
            ...(Object.keys(secrets).length > 0 && { secrets }),
            ...(settings && { settings }),
          }),
        })
        if (!(await isDone(answer, options, 'Nothing was stored.'))) return
        await tellConfig(api, answer, options, { withReport: true })
      })
    },
  )
}

const bodyOf = (attributes: object) => ({ data: { type: 'integration_config', attributes } })

async function list(
  parts: Parts,
  { source, ...options }: CommonOptions & { readonly source?: AnySource },
): Promise<void> {
  await withServer(parts, options, async (api) => {
    const filter =
      source === undefined
        ? ''
        : `?${new URLSearchParams({ 'filter[integration_type]': source.integrationType })}`
    const answer = await api.ask({ method: 'GET', path: `${configsPath}${filter}` })
    if (!(await isDone(answer, options))) return
    const { data } = understood(configListSchema, answer)
    await write(
      process.stdout,
      options.json ? jsonLine(answer.document) : configLines(data, styleOf(process.stdout)),
    )
  })
}

async function get(parts: Parts, id: string, options: CommonOptions): Promise<void> {
  await withServer(parts, options, async (api) => {
    const answer = await askWithReport(api, id)
    if (await isDone(answer, options)) await tellConfig(api, answer, options)
  })
}

const askWithReport = (api: ApiClient, id: string) =>
  api.ask({ method: 'GET', path: `${configsPath}/${id}?include=report` })

interface UpdateOptions extends CommonOptions, SettingsOptions, Readonly<Record<string, unknown>> {
  readonly name?: string
  readonly domain?: string
  readonly enable?: boolean
  readonly disable?: boolean
}

async function change(parts: Parts, id: string, options: UpdateOptions): Promise<void> {
  const { name, domain, enable, disable } = options
  if (enable && disable) throw new UsageError('--enable and --disable: choose one')
  await withServer(parts, options, async (api) => {
    // Which options mean credentials is known by the type alone.
    const found = await api.ask({ method: 'GET', path: `${configsPath}/${id}` })
    if (!(await isDone(found, options))) return
    const { attributes } = understood(oneConfigSchema, found).data
    const settings = await readSettings(options, async () => attributes.settings ?? {})
    const secrets = await newSecrets(parts, attributes.integration_type, options)
    const changes = {
      ...(name !== undefined && { name }),
      ...(domain !== undefined && { domain }),
      ...((enable || disable) && { enabled: enable === true }),
      ...(settings && { settings }),
      ...(secrets && { secrets }),
    }
    if (Object.keys(changes).length === 0)
      throw new UsageError(
        'nothing to change: give --name, --domain, --enable, --disable, settings or credentials',
      )
    const answer = await api.ask({ method: 'PATCH', path: `${configsPath}/${id}`, body: bodyOf(changes) })
    if (!(await isDone(answer, options, 'The configuration is as it was.'))) return
    const isProved = [secrets, domain, options.require, options.settingsFile].some((one) => one !== undefined)
    await tellConfig(api, answer, options, { withReport: isProved })
  })
}

async function newSecrets({ sources, variable }: Parts, integrationType: string, options: UpdateOptions) {
  const source = sourceByIntegrationType(sources, integrationType)
  if (source === undefined) {
    if (sources.some((one) => givesCredentials(one, [one], options)))
      throw new CommandError(`this release knows no credentials of ${printable(integrationType)}`)
    return undefined
  }
  // A variable that is set by chance replaces nothing.
  if (!givesCredentials(source, sources, options)) return undefined
  return inputInTime(options.timeout, variable, (input) => readSecrets(source, options, input))
}

async function remove(parts: Parts, id: string, options: CommonOptions): Promise<void> {
  await withServer(parts, options, async (api) => {
    const answer = await api.ask({ method: 'DELETE', path: `${configsPath}/${id}` })
    if (!(await isDone(answer, options))) return
    await write(
      process.stdout,
      options.json ? jsonLine({ deleted: id }) : `deleted ${id}; its secrets are destroyed\n`,
    )
  })
}

async function validateStored(parts: Parts, id: string, options: CommonOptions): Promise<void> {
  await withServer(parts, options, async (api) => {
    const answer = await api.ask({ method: 'POST', path: `${configsPath}/${id}/validate?include=report` })
    const report = reportIn(answer.document)
    if (report === undefined) {
      if (await isDone(answer, options)) throw notUnderstood(answer)
      return
    }
    await tellReport(report, options)
    process.exitCode = exitCodeOf(answer)
  })
}

interface ActivateOptions extends CommonOptions, SettingsOptions {
  readonly domain?: string
  readonly name?: string
}

async function activate(parts: Parts, source: AnySource, options: ActivateOptions): Promise<void> {
  const { domain, name } = options
  const settings = await readSettings(options)
  await withServer(parts, options, async (api) => {
    const attributes = {
      ...(domain !== undefined && { domain }),
      ...(name !== undefined && { name }),
      ...(settings && { settings }),
    }
    const type = source.integrationType.toLowerCase()
    const answer = await api.ask({
      method: 'POST',
      path: `${configsPath}/${type}/activate`,
      body: { data: { type: `activate_${type}_request`, attributes } },
    })
    if (await isDone(answer, options, 'Nothing was activated.')) await tellConfig(api, answer, options)
  })
}

async function deactivate(parts: Parts, source: AnySource, options: CommonOptions): Promise<void> {
  await withServer(parts, options, async (api) => {
    const type = source.integrationType.toLowerCase()
    const answer = await api.ask({ method: 'POST', path: `${configsPath}/${type}/deactivate` })
    if (!(await isDone(answer, options))) return
    if (!options.json)
      await write(process.stdout, `All configurations of ${source.title} are off; the first:\n\n`)
    await tellConfig(api, answer, options)
  })
}

/** Prints the configuration of an answer; with its report, which an answer to a change does not have, on demand. */
async function tellConfig(
  api: ApiClient,
  answer: ApiAnswer,
  { json }: CommonOptions,
  { withReport = false }: { readonly withReport?: boolean } = {},
): Promise<void> {
  const { data } = understood(oneConfigSchema, answer)
  if (json) {
    await write(process.stdout, jsonLine(answer.document))
    return
  }
  const report = withReport ? await lastReport(api, data) : reportIn(answer.document)
  await write(process.stdout, configText(data, styleOf(process.stdout), report))
}

/** What was done is done, whether or not this can be read. */
async function lastReport(api: ApiClient, { id }: ConfigDocument): Promise<Report | undefined> {
  try {
    return reportIn((await askWithReport(api, id)).document)
  } catch (error) {
    if (error instanceof CouldNotTell) return undefined
    throw error
  }
}

/**
 * Whether the server did what it was asked; otherwise what it said was told, a report as a whole.
 *
 * @param afterReport what the reader of a report has to know besides
 * @throws CommandError, CouldNotTell for what is told in a line
 */
async function isDone(answer: ApiAnswer, options: CommonOptions, afterReport = ''): Promise<boolean> {
  const report = options.json || isSuccess(answer) ? undefined : reportIn(answer.document)
  if (report === undefined) return hasDone(answer, options)
  await tellReport(report, options)
  if (afterReport !== '') await write(process.stdout, `${afterReport}\n`)
  process.exitCode = exitCodeOf(answer)
  return false
}

async function tellReport(report: Report, { json }: CommonOptions): Promise<void> {
  const source = sourceByName(createSources(), report.source)
  await write(
    process.stdout,
    json
      ? jsonLine(report)
      : reportText(report, source?.title ?? titleOf(report.source), styleOf(process.stdout)),
  )
}
