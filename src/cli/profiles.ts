/** Which server a command talks to, and with which keys: from the environment or from a profile file. */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { UsageError } from './exit-codes.ts'
import { printable } from './terminal.ts'

/** Not printable as a whole: it holds keys. */
export interface ServerAccess {
  /** Without a final slash: `https://credence.example.com`. */
  readonly url: string
  /** Absent where an access token stands in for both keys. */
  readonly apiKey: string | undefined
  readonly applicationKey: string
}

/** No file of profiles is larger, in bytes. */
const maxFileBytes = 64 * 1024

const profilesSchema = z.record(
  z.string(),
  z.object({ url: z.string(), api_key: z.string().optional(), application_key: z.string() }),
)

/**
 * Keys travel with their address: those of the environment are never sent to a profile's server, nor the other way
 * round, since somebody may have Datadog's own in DD_API_KEY.
 *
 * @param name of the profile; without it CREDENCE_URL goes before the profile `default`
 * @throws UsageError which repeats no value
 */
export async function readServerAccess(
  name: string | undefined,
  variable: (name: string) => string | undefined,
): Promise<ServerAccess> {
  const url = variable('CREDENCE_URL')?.trim()
  if (name === undefined && url) {
    return checked('CREDENCE_URL', url, {
      apiKey: ['DD_API_KEY', variable('DD_API_KEY')],
      applicationKey: ['DD_APP_KEY', variable('DD_APP_KEY')],
    })
  }
  const file =
    variable('CREDENCE_PROFILE_FILE')?.trim() || join(homedir(), '.config', 'credence', 'profiles.json')
  const profile = await readProfile(file, name)
  const where = `the profile ${printable(name ?? 'default')} in ${printable(file)}`
  return checked(`${where}: url`, profile.url, {
    apiKey: [`${where}: api_key`, profile.api_key],
    applicationKey: [`${where}: application_key`, profile.application_key],
  })
}

async function readProfile(file: string, name: string | undefined) {
  const text = await readPrivateFile(file)
  if (text === undefined) {
    throw new UsageError(
      name === undefined
        ? `no server is named: set CREDENCE_URL, DD_API_KEY and DD_APP_KEY, or write a profile to ${printable(file)}`
        : `--profile: there is no file ${printable(file)}`,
    )
  }
  let profiles: z.infer<typeof profilesSchema>
  try {
    profiles = profilesSchema.parse(JSON.parse(text))
  } catch {
    throw new UsageError(
      `${printable(file)}: expected {"default": {"url": "…", "api_key": "…", "application_key": "…"}}`,
    )
  }
  const wanted = name ?? 'default'
  const profile = Object.hasOwn(profiles, wanted) ? profiles[wanted] : undefined
  if (profile === undefined) {
    const others = Object.keys(profiles).map(printable).join(', ')
    throw new UsageError(
      `${printable(file)} has no profile ${printable(wanted)}${others === '' ? '' : `; it has ${others}`}`,
    )
  }
  return profile
}

/** Undefined where there is none. @throws UsageError when others may read it */
async function readPrivateFile(path: string): Promise<string | undefined> {
  try {
    // Opening a pipe without a writer would wait for one.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const { mode, size, uid } = await file.stat()
      const isFile = (mode & constants.S_IFMT) === constants.S_IFREG
      if (!isFile || size > maxFileBytes)
        throw new UsageError(`${printable(path)} is no file of profiles: it is too large, or no file at all`)
      if ((mode & 0o077) !== 0) {
        throw new UsageError(
          `${printable(path)} holds keys and others than its owner may use it: run chmod 600 on it`,
        )
      }
      const user = process.getuid?.()
      if (user !== undefined && user !== 0 && uid !== user)
        throw new UsageError(`${printable(path)} belongs to another user`)
      return await file.readFile('utf8')
    } finally {
      await file.close()
    }
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') throw error
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
    throw new UsageError(`${printable(path)} cannot be read (${error.code})`)
  }
}

/** What is not a key could break a header into two. */
const keyForm = /^[\x21-\x7e]{1,512}$/
/** They are sent as application keys, and no API key goes with them. */
const accessToken = /^dd[ps]at_/

type Named = readonly [what: string, value: string | undefined]

function checked(
  what: string,
  url: string,
  { apiKey, applicationKey }: { readonly apiKey: Named; readonly applicationKey: Named },
): ServerAccess {
  const application = keyOf(applicationKey)
  if (application === undefined) throw new UsageError(`${applicationKey[0]} is not set`)
  const api = keyOf(apiKey)
  if (api === undefined && !accessToken.test(application)) throw new UsageError(`${apiKey[0]} is not set`)
  return { url: addressOf(what, url), apiKey: api, applicationKey: application }
}

function keyOf([what, value]: Named): string | undefined {
  const key = value?.trim()
  if (key === undefined || key === '') return undefined
  if (!keyForm.test(key)) throw new UsageError(`${what} is not a key`)
  return key
}

const loopback = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/

function addressOf(what: string, text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isAddress =
    url !== undefined &&
    (url.protocol === 'https:' || url.protocol === 'http:') &&
    url.username === '' &&
    url.password === '' &&
    url.search === '' &&
    url.hash === ''
  if (!isAddress)
    throw new UsageError(
      `${what}: expected an address such as https://credence.example.com, without user, query and fragment`,
    )
  if (url.protocol === 'http:' && !loopback.test(url.hostname))
    throw new UsageError(`${what}: keys are sent over https alone, unless the server is on this machine`)
  return url.href.replace(/\/+$/, '')
}
