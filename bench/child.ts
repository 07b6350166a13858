/** Processes of a benchmark's own: what is measured shares no event loop with what measures it. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

/** What a child can be asked: names of questions and the functions that answer them, in the child. */
// biome-ignore lint/suspicious/noExplicitAny: each answer has an argument of its own, which `Child` keeps typed.
type Answers = Readonly<Record<string, (argument: any) => unknown>>

type Question = { readonly number: number; readonly name: string; readonly argument: unknown }
type Reply = { readonly number: number; readonly value?: unknown; readonly error?: string }

export interface Child<A extends Answers> {
  ask<Name extends keyof A & string>(
    name: Name,
    ...argument: Parameters<A[Name]>
  ): Promise<Awaited<ReturnType<A[Name]>>>
  stop(): Promise<void>
}

/** How bin/credence.js starts Node for a server. */
export const serverOptions = ['--max-semi-space-size=8', '--no-separate-gc-phases'] as const
export const serverEnvironment = { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '65536' } as const

/** Starts `file`, a module of this folder that calls `answerQuestions` with `A`. */
export function startChild<A extends Answers>(
  file: string,
  {
    nodeOptions = [],
    environment = {},
  }: { nodeOptions?: readonly string[]; environment?: NodeJS.ProcessEnv } = {},
): Child<A> {
  const child = fork(join(import.meta.dirname, file), {
    execArgv: [...nodeOptions],
    // No proxy, no authority, no setting of whoever runs this; NODE_OPTIONS lets them profile all processes at once.
    env: {
      PATH: process.env.PATH,
      ...(process.env.NODE_OPTIONS !== undefined && { NODE_OPTIONS: process.env.NODE_OPTIONS }),
      ...environment,
    },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    serialization: 'advanced',
  })
  // The last of what it complained about, for the error when it ends early.
  let complaints = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaints = (complaints + text).slice(-4_000)
  })
  const open = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  child.on('message', ({ number, value, error }: Reply) => {
    const question = open.get(number)
    open.delete(number)
    if (error === undefined) question?.resolve(value)
    else question?.reject(new Error(`${file}: ${error}`))
  })
  const exited = once(child, 'exit').then(([code]) => {
    for (const { reject } of open.values()) reject(new Error(`${file} ended with ${code}: ${complaints}`))
    open.clear()
  })
  let asked = 0
  return {
    ask(name, ...[argument]) {
      const number = asked++
      return new Promise((resolve, reject) => {
        open.set(number, { resolve: resolve as (value: unknown) => void, reject })
        child.send({ number, name, argument } satisfies Question, (error) => error && reject(error))
      })
    },
    async stop() {
      if (child.connected) child.disconnect()
      await exited
    },
  }
}

/** In the child: answers its parent's questions until the parent has no more. `end` is called then. */
export function answerQuestions(answers: Answers, end: () => unknown = () => undefined): void {
  const reply = async ({ number, name, argument }: Question): Promise<Reply> => {
    try {
      const answer = answers[name]
      if (answer === undefined) throw new Error(`no answer to ${name}`)
      return { number, value: await answer(argument) }
    } catch (error) {
      return { number, error: error instanceof Error ? String(error.stack) : String(error) }
    }
  }
  process.on('message', async (question: Question) => process.send?.(await reply(question)))
  process.on('disconnect', async () => {
    await end()
    process.exit(0)
  })
}
