/** `credence serve`: the server, until a signal ends it. */
import { type Command, InvalidArgumentError } from 'commander'
import { ConfigError, readConfig } from '../config.ts'
import { dataDirOption, describeFailure } from './data-dir.ts'
import { CommandError } from './exit-codes.ts'
import { stopSignal } from './stop-signal.ts'
import { jsonLine, printable, write } from './terminal.ts'

interface ServeOptions {
  readonly host: string
  readonly port: number
  readonly dataDir: string
  readonly json?: boolean
}

export function addServeCommand(program: Command): void {
  program
    .command('serve')
    .description('run the server until SIGTERM or SIGINT; logs go to standard error')
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--port <number>', 'port to listen on; 0 picks a free one', port, 8080)
    .addOption(dataDirOption())
    .option('--json', 'print the ready line as JSON: {"url", "pid"}')
    .action(serve)
}

export function port(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535) {
    throw new InvalidArgumentError('It is a whole number from 0 to 65535.')
  }
  return Number(text)
}

async function serve(options: ServeOptions): Promise<void> {
  const service = await start(options)
  const stopped = stopSignal()
  const { url } = service
  await write(
    process.stdout,
    options.json ? jsonLine({ url, pid: process.pid }) : `Credence listens on ${url}\n`,
  )
  await stopped
  await service.close()
}

async function start({ host, port, dataDir }: ServeOptions) {
  // Not needed by any other command, and slow to load.
  const { startService } = await import('../service.ts')
  const { describeStoreFailure } = await import('./store-failure.ts')
  try {
    return await startService({ host, port, dataDir, config: readConfig() })
  } catch (error) {
    if (error instanceof ConfigError) throw new CommandError(error.message)
    throw (
      describeListening(error, host, port) ?? describeStoreFailure(error) ?? describeFailure(error, dataDir)
    )
  }
}

export function describeListening(error: unknown, host: string, port: number): CommandError | undefined {
  if (!(error instanceof Error) || !('syscall' in error) || !('code' in error)) return undefined
  const address = `${printable(host)}:${port}`
  if (error.code === 'EADDRINUSE') {
    return new CommandError(
      `${address} is taken by another program; choose another --port, or 0 for a free one`,
    )
  }
  if (error.syscall !== 'listen' && error.syscall !== 'getaddrinfo') return undefined
  return new CommandError(`cannot listen on ${address} (${error.code}); check --host and --port`)
}
