/** `credence doctor`: looks at everything a server depends on, and says what to do about what is not well. */
import type { Command } from 'commander'
import { dataDirOption } from './data-dir.ts'
import type { Finding } from './doctor-checks.ts'
import { exitCodes } from './exit-codes.ts'
import { fold, jsonLine, printable, type Style, styleOf, write } from './terminal.ts'

interface DoctorOptions {
  readonly dataDir: string
  readonly offline?: boolean
  readonly json?: boolean
}

const help = `
Changes nothing. Run it as the user, in the folder and with the environment of the server.

Exit status: ${exitCodes.ok} all is well, warnings aside; ${exitCodes.no} something is not; ${exitCodes.unknown} something could not be told.`

export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('look at what a server depends on: settings, disk, database, vault keys, clock, providers')
    .addOption(dataDirOption())
    .option('--offline', 'reach for no provider')
    .option('--json', 'print one JSON object')
    .addHelpText('after', help)
    .action(examine)
}

async function examine({ dataDir, offline = false, json }: DoctorOptions): Promise<void> {
  // Slow to load, and not needed by other commands.
  const { examineHost } = await import('./doctor-checks.ts')
  const findings = await examineHost({ dataDir, offline })
  const verdict = verdictOf(findings)
  await write(
    process.stdout,
    json ? jsonLine({ verdict, checks: findings }) : findingsText(findings, styleOf(process.stdout)),
  )
  process.exitCode = { passed: exitCodes.ok, failed: exitCodes.no, unknown: exitCodes.unknown }[verdict]
}

function verdictOf(findings: readonly Finding[]): 'passed' | 'failed' | 'unknown' {
  if (findings.some(({ status }) => status === 'failed')) return 'failed'
  return findings.some(({ status }) => status === 'unknown') ? 'unknown' : 'passed'
}

/** Below the first line, under the title. */
const indent = '    '

const findingsText = (findings: readonly Finding[], style: Style): string =>
  findings
    .flatMap((finding) => {
      const { title, status, detail, remedy } = finding
      const [first = '', ...more] = fold(
        printable(`${title}: ${status === 'skipped' ? 'not looked at, ' : ''}${detail}`),
        style.width,
        indent,
      )
      return [
        `  ${mark(finding, style)} ${first.trimStart()}`,
        ...more,
        ...(remedy === undefined ? [] : fold(printable(remedy), style.width, indent)),
      ]
    })
    .map((line) => `${line}\n`)
    .join('')

function mark({ status }: Finding, style: Style): string {
  switch (status) {
    case 'passed':
      return style.paint('green', '✓')
    case 'warning':
      return style.paint('yellow', '!')
    case 'failed':
      return style.paint('red', '✗')
    case 'unknown':
      return style.paint('yellow', '?')
    case 'skipped':
      return style.paint('dim', '–')
  }
}
