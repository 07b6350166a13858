/** `credence validate`: proves credentials from the command line, without a server or a database. */
import { type Command, InvalidArgumentError } from 'commander'
import { type Config, readConfig } from '../config.ts'
import { createOutbound } from '../outbound/outbound.ts'
import { type AnySource, createSources, sourceByName } from '../sources/registry.ts'
import type { CheckReport, Report } from '../validation/report.ts'
import { defaultTimeoutMs, validate } from '../validation/validate.ts'
import { showCheckList } from './check-list.ts'
import { addCredentialOptions, credentialHelp, inputInTime, readCredentials } from './credential-options.ts'
import { exitCodes, UsageError } from './exit-codes.ts'
import { headLine, reportText } from './report-text.ts'
import { jsonLine, printable, styleOf, write } from './terminal.ts'

interface CommonOptions {
  readonly domain: string
  readonly json?: boolean
  readonly timeout: number
}

/** `variable` reads a variable of the environment. */
export function addValidateCommand(program: Command, variable: (name: string) => string | undefined): void {
  const command = program
    .command('validate')
    .description(
      'prove that credentials let a sync read their source, and say what is wrong when they do not',
    )
    .addHelpText('after', `\n${exitStatusHelp}`)
  for (const source of createSources()) addSource(command, source, variable)
}

function addSource(
  validateCommand: Command,
  source: AnySource,
  variable: (name: string) => string | undefined,
): void {
  const command = validateCommand
    .command(source.name)
    .description(`validate credentials of ${source.title}`)
    .requiredOption('--domain <domain>', source.domainField.help)
  addCredentialOptions(command, source)
  command
    .option('--timeout <seconds>', 'time limit of the whole', seconds, defaultTimeoutMs / 1_000)
    .option('--json', 'print the report as JSON and nothing else')
    .addHelpText('after', `\n${credentialHelp(source)}\n\n${exitStatusHelp}`)
    .action(async (options: CommonOptions & Record<string, unknown>) => {
      const report = await run(source.name, options, variable)
      process.exitCode = exitCodeOf(report)
    })
}

const exitStatusHelp = `Also read from the environment:
  CREDENCE_CUSTOM_DOMAINS  hosts, separated by commas, that --domain may name outside the provider's own
  CREDENCE_ENDPOINTS       a JSON file of provider hosts that this machine answers for, to try things out
  NODE_EXTRA_CA_CERTS      a PEM file of authorities to trust, for a proxy that inspects traffic

Exit status: ${exitCodes.ok} valid, ${exitCodes.no} invalid, ${exitCodes.usage} wrong usage (nothing was asked), ${exitCodes.unknown} could not tell.`

/** One hour: a longer limit is a slip of the pen. */
const longestTimeoutSeconds = 3_600

export function seconds(text: string): number {
  const value = Number(text)
  if (!/^\d+(\.\d+)?$/.test(text) || value <= 0 || value > longestTimeoutSeconds) {
    throw new InvalidArgumentError(`It is a number of seconds above 0, at most ${longestTimeoutSeconds}.`)
  }
  return value
}

async function run(
  sourceName: string,
  { domain, json = false, timeout, ...values }: CommonOptions & Record<string, unknown>,
  variable: (name: string) => string | undefined,
): Promise<Report> {
  const deadline = performance.now() + timeout * 1_000
  const config = readConfig()
  const source = sourceByName(createSources({ customDomains: config.customDomains }), sourceName)
  if (source === undefined) throw new Error(`source ${sourceName} is not registered`)
  if (domain.trim() === '') throw new UsageError('--domain is empty')

  const credentials = await inputInTime(timeout, variable, (input) => readCredentials(source, values, input))
  // Somebody who types a secret takes the time it takes: the limit is for machines.
  const timeoutMs = process.stdin.isTTY ? timeout * 1_000 : Math.max(0, deadline - performance.now())

  warnOfEndpoints(config)
  const style = styleOf(process.stdout)
  const list =
    json || !process.stdout.isTTY
      ? undefined
      : showCheckList(process.stdout, {
          heading: headLine(source.title, domain, style),
          checks: source.checks,
          style,
          isDumb: variable('TERM') === 'dumb',
        })
  const outbound = createOutbound({ endpoints: config.endpoints })
  const report = await validate(
    source,
    { domain, credentials },
    { openHttp: outbound.open, now: () => new Date() },
    { timeoutMs, ...(list && { onCheck: (check: CheckReport) => list.ended(check) }) },
  )
  list?.clear()
  await write(process.stdout, json ? jsonLine(report) : reportText(report, source.title, style))
  return report
}

/** Whoever reads the report has to know that it is not the provider's. */
function warnOfEndpoints({ endpoints }: Config): void {
  if (endpoints.size === 0) return
  process.stderr.write(
    `warning: CREDENCE_ENDPOINTS is set: this machine answers in place of ${[...endpoints.keys()].map(printable).join(', ')}\n`,
  )
}

function exitCodeOf({ verdict }: Report): number {
  switch (verdict) {
    case 'valid':
      return exitCodes.ok
    case 'invalid':
      return exitCodes.no
    case 'indeterminate':
      return exitCodes.unknown
  }
}
