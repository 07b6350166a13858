/** What commands that ask a server have in common: which server, with which keys, and what its answers mean. */
import { type Command, InvalidArgumentError } from 'commander'
import { type ApiAnswer, type ApiClient, createApiClient, errorsIn } from './api-client.ts'
import { CommandError, CouldNotTell, exitCodes } from './exit-codes.ts'
import { readServerAccess } from './profiles.ts'
import { jsonLine, write } from './terminal.ts'
import { seconds } from './validate-command.ts'

export interface CommonOptions {
  readonly profile?: string
  readonly timeout: number
  readonly json?: boolean
}

/** Longer than a validation takes, shorter than a server that counts requests by the minute may ask to wait. */
const defaultTimeoutSeconds = 30

export const serverHelp = `Which server, and with which keys:
  CREDENCE_URL, DD_API_KEY and DD_APP_KEY, or the profile "default" in ~/.config/credence/profiles.json
  (CREDENCE_PROFILE_FILE names another file, --profile another profile of it):
  {"default": {"url": "https://credence.example.com", "api_key": "…", "application_key": "…"}}

Exit status: ${exitCodes.ok} done, and valid; ${exitCodes.no} invalid, refused or not found; ${exitCodes.usage} wrong usage (nothing was asked); ${exitCodes.unknown} could not tell.`

/** Reads a variable of the environment. */
export type Variable = (name: string) => string | undefined

export const asking = (command: Command): Command =>
  command
    .option('--profile <name>', 'server and keys from this profile')
    .option(
      '--timeout <seconds>',
      'time limit of the whole; a server that asks to come back later is asked again within it',
      seconds,
      defaultTimeoutSeconds,
    )
    .option('--json', "print the server's document and nothing else")
    .addHelpText('after', `\n${serverHelp}`)

/** What is no id may be part of an address: `..` would ask for something else. */
export function configId(text: string): string {
  if (!/^\w[\w-]{0,63}$/.test(text)) throw new InvalidArgumentError('It is an id as in configs list.')
  return text
}

/** Opens the way to the server for as long as `use` takes. */
export async function withServer<T>(
  { variable }: { readonly variable: Variable },
  { profile, timeout }: CommonOptions,
  use: (api: ApiClient) => Promise<T>,
): Promise<T> {
  const server = await readServerAccess(profile, variable)
  const api = createApiClient(server, {
    timeoutMs: timeout * 1_000,
    onWait: (answer, waitSeconds) =>
      process.stderr.write(
        `credence: could not tell yet (${answer.status}): ${errorsIn(answer).join(' ')} Asking again in ${waitSeconds} s.\n`,
      ),
  })
  try {
    return await use(api)
  } finally {
    await api.close()
  }
}

export const isSuccess = ({ status }: ApiAnswer) => status >= 200 && status < 300

/** What each permission is for, of which most commands need one. */
const usualNeeds = 'integrations_read to look and validate, manage_integrations to change'

/**
 * Whether the server did what it was asked; otherwise what it said was told, and the exit status says which.
 *
 * @param needs permissions, for people
 * @throws CommandError, CouldNotTell for what is told in a line
 */
export async function hasDone(
  answer: ApiAnswer,
  { json }: Pick<CommonOptions, 'json'>,
  needs = usualNeeds,
): Promise<boolean> {
  if (isSuccess(answer)) return true
  const code = exitCodeOf(answer)
  if (json && answer.document !== undefined) {
    await write(process.stdout, jsonLine(answer.document))
    process.exitCode = code
    return false
  }
  const text = refusalText(answer, needs)
  throw code === exitCodes.no ? new CommandError(text) : new CouldNotTell(text)
}

function refusalText(answer: ApiAnswer, needs: string): string {
  const errors = errorsIn(answer)
  if (answer.status === 403) {
    return errors.length > 1
      ? `the server refuses (403): the keys are right, but lack the permission that this needs (${needs})`
      : 'the server refuses the keys (403): they are wrong, revoked, or of another server'
  }
  return errors.join('\n')
}

export function exitCodeOf({ status }: ApiAnswer): number {
  if (status >= 200 && status < 300) return exitCodes.ok
  return status >= 400 && status < 500 && status !== 408 && status !== 429 ? exitCodes.no : exitCodes.unknown
}

/** @throws CouldNotTell for a success in a form that we do not know */
export function understood<T>(
  schema: {
    safeParse(value: unknown): { readonly success: true; readonly data: T } | { readonly success: false }
  },
  answer: ApiAnswer,
): T {
  const read = schema.safeParse(answer.document)
  if (!read.success) throw notUnderstood(answer)
  return read.data
}

export const notUnderstood = ({ status }: ApiAnswer) =>
  new CouldNotTell(`the server answered ${status}, but not as Credence does; is CREDENCE_URL right?`)
