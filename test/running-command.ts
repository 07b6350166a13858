/** The `credence` command as a process of its own, for tests of what it prints and how it ends. */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'

const main = join(import.meta.dirname, '..', 'src', 'cli', 'main.ts')

/** What a process may not outlive: a test's context, or a file's own list of things to end. */
export interface Lasting {
  after(end: () => unknown): void
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunningCommand {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>
  /** The next line of standard output; fails when the command ends before. */
  line(): Promise<string>
  /** Standard output up to and including the first line that `pattern` matches. */
  textUntil(pattern: RegExp): Promise<string>
  ended: Promise<Ended>
  /** Asks it to end and waits for it; fails when it takes more than 10 s. */
  stop(signal?: NodeJS.Signals): Promise<Ended>
}

/** Starts the command; whatever happens, it does not outlive the test. `input` is what its standard input holds. */
export function startCommand(
  test: Lasting,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  input: string | Uint8Array = '',
): RunningCommand {
  const child = spawn(process.execPath, [main, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      TMPDIR: process.env.TMPDIR,
      // Half of a short command's time would be spent on compiling.
      NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
      ...environment,
    },
  })
  // A command that refuses its arguments ends without reading its input.
  child.stdin.on('error', () => {}).end(input)
  let stdout = ''
  let stderr = ''
  let taken = 0
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, stdout, stderr }) as Ended)
  const endedWithin10Seconds = async () => {
    const tooLate = AbortSignal.timeout(10_000)
    await Promise.race([ended, once(tooLate, 'abort')])
    return !tooLate.aborted
  }
  test.after(async () => {
    // Asked first, so that it removes what it wrote.
    child.kill('SIGTERM')
    if (!(await endedWithin10Seconds())) child.kill('SIGKILL')
  })
  const line = async (): Promise<string> => {
    for (;;) {
      const end = stdout.indexOf('\n', taken)
      if (end !== -1) {
        const text = stdout.slice(taken, end)
        taken = end + 1
        return text
      }
      const isOver = await Promise.race([
        once(child.stdout, 'data').then(() => false),
        ended.then(() => true),
      ])
      if (isOver && stdout.indexOf('\n', taken) === -1)
        throw new Error(`credence ${args[0]} ended (${child.exitCode}) before its line came:\n${stderr}`)
    }
  }
  return {
    child,
    line,
    ended,
    async textUntil(pattern) {
      const lines: string[] = []
      do lines.push(await line())
      while (!pattern.test(lines.at(-1) ?? ''))
      return lines.join('\n')
    },
    async stop(signal = 'SIGTERM') {
      child.kill(signal)
      if (!(await endedWithin10Seconds()))
        throw new Error(`credence ${args[0]} still ran 10 s after ${signal}`)
      return ended
    },
  }
}

/** Runs the command to its end. */
export const runCommand = (
  test: Lasting,
  args: readonly string[],
  environment?: Readonly<Record<string, string>>,
  input?: string | Uint8Array,
): Promise<Ended> => startCommand(test, args, environment, input).ended
