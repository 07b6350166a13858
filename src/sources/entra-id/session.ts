/** What the checks of one validation share: the credentials, one client, and what was already read. */
import { SourceError } from '../../outbound/source-error.ts'
import type { DomainReading, SourceTools, Target } from '../source.ts'
import { type Client, createClient } from './client.ts'
import { permissions } from './permissions.ts'
import { type Credentials, readDomain } from './secrets.ts'
import { type SoundCredentials, soundCredentials } from './sound-credentials.ts'

export interface Session {
  readonly domain: DomainReading
  readonly credentials: ReturnType<typeof soundCredentials>
  /** @throws SourceError `not_configured` while the credentials are not sound */
  client(): Client
  /** @throws SourceError `not_configured` while the credentials are not sound */
  sound(): SoundCredentials
  /** The ID of one group, if there is any; asked for once. */
  firstGroup(): Promise<string | undefined>
  now(): Date
}

export function openSession(target: Target<Credentials>, tools: SourceTools): Session {
  const credentials = soundCredentials(target.credentials, tools.now())
  let client: Client | undefined
  let group: Promise<string | undefined> | undefined
  const session: Session = {
    domain: readDomain(target.domain),
    credentials,
    sound() {
      if (!credentials.ok) throw new SourceError({ code: 'not_configured', operation: 'use credentials' })
      return credentials.credentials
    },
    client() {
      client ??= createClient(session.sound(), tools)
      return client
    },
    firstGroup() {
      group ??= session
        .client()
        .list('read groups', '/groups?$top=1&$select=id', [permissions.groups])
        .then(([first]) => (first === undefined ? undefined : String(first.id)))
      return group
    },
    now: () => tools.now(),
  }
  return session
}
