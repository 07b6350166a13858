/** What is said when a command fails, and the exit status it fails with. */
import { CommanderError } from 'commander'
import { ConfigError } from '../config.ts'
import { CommandError, CouldNotTell, exitCodes, UsageError } from './exit-codes.ts'
import { printable } from './terminal.ts'

/** Tells the error in one line where it can, and returns the exit status it stands for. */
export function exitCodeAfter(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return exitCodes.ok
    // Help that stands in for a missing command has been printed.
    if (error.code !== 'commander.help') tell(commandLineFault(error))
    return exitCodes.usage
  }
  if (error instanceof UsageError || error instanceof ConfigError) {
    tell(error.message)
    return exitCodes.usage
  }
  if (error instanceof CommandError) {
    tell(error.message)
    return exitCodes.no
  }
  if (error instanceof CouldNotTell) {
    tell(error.message)
    return exitCodes.unknown
  }
  if (error instanceof Error && 'syscall' in error && error.syscall === 'write' && 'code' in error) {
    tell(`the output could not be written (${error.code})`)
    return exitCodes.unknown
  }
  tell(`internal error, please report it: ${trace(error)}`)
  return exitCodes.unknown
}

const tell = (text: string) => process.stderr.write(`credence: ${text}\n`)

/** Commander repeats what was typed; what it did not expect may be a secret. */
function commandLineFault({ code, message }: CommanderError): string {
  const text = message.replace(/^error: /, '')
  switch (code) {
    case 'commander.unknownOption':
      return text.replace(/'(-[a-z-]*).*'/s, "'$1'")
    case 'commander.excessArguments':
      return text.replace(/: .*$/s, '. Secrets are not taken from arguments, see --help.')
    default:
      return text.split('\n').map(printable).join('\n')
  }
}

/** Where it happened, without the error's words: they may hold input. */
function trace(error: unknown): string {
  if (!(error instanceof Error)) return typeof error
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line))
  return [error.name, ...frames].join('\n')
}
