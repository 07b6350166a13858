/** What the lists of one run share: the client, the tenant's size, and who holds its roles. */
import { SourceError } from '../../outbound/source-error.ts'
import type { SourceTools, Target } from '../source.ts'
import { type Client, createClient } from './client.ts'
import type { Cloud } from './clouds.ts'
import { type GraphPage, type Place, readGraphPage } from './graph-page.ts'
import { permissions } from './permissions.ts'
import { type Holders, readRoleHolders } from './role-assignments.ts'
import type { Credentials } from './secrets.ts'
import { soundCredentials } from './sound-credentials.ts'

export interface ReadingSession {
  /** One page of the collection at `place`. @param at path and query below `/v1.0` */
  page(place: Place, at: string): Promise<GraphPage>
  /** Who holds the directory's roles; asked for once. */
  roleHolders(): Promise<Holders>
}

/**
 * Graph throttles low priority first.
 *
 * @see https://learn.microsoft.com/graph/throttling-limits#request-headers
 */
const priority = { 'x-ms-throttle-priority': 'Low' }

/** 999 users with all their addresses stay well below. In bytes. */
const largestPageBytes = 4 * 1024 * 1024

export function openReading(target: Target<Credentials>, tools: SourceTools): ReadingSession {
  let opened: { readonly client: Client; readonly cloud: Cloud } | undefined
  let size: Promise<void> | undefined
  let holders: Promise<Holders> | undefined

  const open = () => {
    if (opened !== undefined) return opened
    const credentials = soundCredentials(target.credentials, tools.now())
    if (!credentials.ok) throw new SourceError({ code: 'not_configured', operation: 'use credentials' })
    const client = createClient(credentials.credentials, tools, {
      headers: priority,
      maxBodyBytes: largestPageBytes,
    })
    opened = { client, cloud: credentials.credentials.cloud }
    return opened
  }

  const session: ReadingSession = {
    async page(place, at) {
      const { client, cloud } = open()
      size ??= tellSize(client)
      await size
      return readGraphPage(client, cloud, place, at)
    },

    roleHolders() {
      holders ??= readRoleHolders(session).catch((error: unknown) => {
        holders = undefined
        throw error
      })
      return holders
    },
  }
  return session
}

/**
 * Asks how many users there are, as the rate limit depends on it. Who reads the limit sees it in the answer, see
 * rates.ts; without an answer the smallest limit holds.
 *
 * @see https://learn.microsoft.com/graph/api/user-list#example-3-get-only-a-count-of-users
 */
async function tellSize(client: Client): Promise<void> {
  try {
    await client.answer('count users', '/users/$count', [permissions.users], { consistencylevel: 'eventual' })
  } catch (error) {
    if (!(error instanceof SourceError)) throw error
  }
}
