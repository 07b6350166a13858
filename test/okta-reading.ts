/** Reads an Okta organisation page by page, as simply as can be: what a sync does without its stage and its merge. */
import type { OktaSandbox } from '../sandbox/okta/index.ts'
import type { Activity, Entity, Fact } from '../src/entities/model.ts'
import { Answer } from '../src/outbound/answer.ts'
import type { HttpClient } from '../src/outbound/http.ts'
import { SourceError } from '../src/outbound/source-error.ts'
import { createReader } from '../src/sources/okta/reader.ts'
import type { OktaReading } from '../src/sources/okta/reading-session.ts'
import type { OktaCredentials } from '../src/sources/okta/secrets.ts'
import type { Json, Page } from '../src/sources/reading.ts'

export const reader = createReader([])

/** An HTTP client without a network, by the same clock on both sides. */
export function httpTo(organization: Pick<OktaSandbox, 'handle'>, now: () => Date): HttpClient {
  return {
    async request({ operation, method, url, headers = {}, body = '' }) {
      const answer = await organization.handle({
        method,
        url: new URL(url),
        headers: new Headers(headers),
        body,
        now: now(),
        faults: new Set(),
      })
      const answered = new Headers({ date: now().toUTCString(), ...answer.headers })
      const text = answer.body === undefined ? '' : JSON.stringify(answer.body)
      const raw = { status: answer.status, fields: Object.fromEntries(answered), text, receivedAt: now() }
      return new Answer(raw, operation, `${method} ${new URL(url).pathname}`)
    },
  }
}

export const openOkta = (
  domain: string,
  credentials: OktaCredentials,
  http: HttpClient,
  now = () => new Date(),
): OktaReading => reader.open({ domain, credentials }, { http, now, signal: new AbortController().signal })

/** What is known of an organisation, as sets that are easily compared. */
export interface Known {
  readonly entities: Map<string, Entity>
  readonly activities: Map<string, Activity>
  /** `<group> <member>` */
  memberships: Set<string>
  /** `<name> <uid> <value>` */
  readonly facts: Set<string>
  marks: Map<string, Json>
  /** Names of optional lists that were refused. */
  refused: Set<string>
  unreadable: string[]
  pages: number
}

const keyOf = ({ kind, attributes: { uid } }: Entity) => `${kind} ${uid}`
const factKey = ({ name, uid, value }: Fact) => `${name} ${uid} ${value}`

type PageOf = (cursor: Json | undefined) => Promise<Page>

async function* pagesOf(read: PageOf): AsyncGenerator<Page> {
  const seen = new Set<string>()
  let cursor: Json | undefined
  do {
    const page = await read(cursor)
    yield page
    cursor = page.next
    const text = JSON.stringify(cursor ?? null)
    if (cursor !== undefined && seen.has(text)) throw new Error('a cursor came twice')
    seen.add(text)
    // Stored between pages: what is not JSON would be lost.
    if (cursor !== undefined) cursor = JSON.parse(text) as Json
  } while (cursor !== undefined)
}

/** Whether the list could be read. */
async function readable(known: Known, name: string, required: boolean, read: () => Promise<void>) {
  try {
    await read()
    return true
  } catch (error) {
    const isRefusal =
      error instanceof SourceError && (error.code === 'refused' || error.code === 'not_configured')
    if (required || !isRefusal) throw error
    known.refused.add(name)
    return false
  }
}

function take(known: Known, page: Page): void {
  known.pages += 1
  // What is not told anew stays: a list of users knows of no address.
  const note = (key: string, activity: Activity) =>
    known.activities.set(key, { ...known.activities.get(key), ...activity })
  for (const entity of page.entities ?? []) {
    known.entities.set(keyOf(entity), entity)
    if (entity.activity !== undefined) note(keyOf(entity), entity.activity)
  }
  for (const { group, member } of page.memberships ?? []) known.memberships.add(`${group} ${member}`)
  for (const fact of page.facts ?? []) known.facts.add(factKey(fact))
  for (const { uid, reason } of page.unreadable ?? []) known.unreadable.push(`${uid}: ${reason}`)
  for (const { kind, uid, activity } of page.activities ?? []) note(`${kind} ${uid}`, activity)
  for (const { kind, uid } of page.removed ?? []) {
    known.entities.delete(`${kind} ${uid}`)
    known.activities.delete(`${kind} ${uid}`)
    known.memberships = new Set(
      [...known.memberships].filter((membership) => !membership.split(' ').includes(uid)),
    )
  }
}

async function readMembers(known: Known, session: OktaReading, by: 'group' | 'identity', uid: string) {
  const walk = reader.memberships.find((one) => one.by === by)
  if (walk === undefined) throw new Error(`no walk by ${by}`)
  try {
    for await (const page of pagesOf((cursor) => walk.read(session, uid, cursor))) take(known, page)
  } catch (error) {
    if (!(error instanceof SourceError && error.status === 404)) throw error
  }
}

export async function readFull(session: OktaReading, by: 'group' | 'identity' = 'group'): Promise<Known> {
  const known: Known = {
    entities: new Map(),
    activities: new Map(),
    memberships: new Set(),
    facts: new Set(),
    marks: new Map(),
    refused: new Set(),
    unreadable: [],
    pages: 0,
  }
  for (const increment of reader.increments)
    await readable(known, increment.name, increment.required, async () => {
      known.marks.set(increment.name, await increment.begin(session))
    })
  for (const list of reader.lists)
    await readable(known, list.name, list.required, async () => {
      for await (const page of pagesOf((cursor) => list.read(session, cursor))) take(known, page)
    })
  const owners = [...known.entities.values()].filter(({ kind }) => kind === by)
  for (const { attributes } of owners) await readMembers(known, session, by, attributes.uid)
  return known
}

/** Brings what is known up to date. */
export async function readIncrement(session: OktaReading, known: Known): Promise<void> {
  const changedGroups = new Set<string>()
  for (const increment of reader.increments) {
    const mark = known.marks.get(increment.name)
    if (mark === undefined) continue
    await readable(known, increment.name, increment.required, async () => {
      for await (const page of pagesOf((cursor) => increment.read(session, mark, cursor))) {
        for (const { uid } of page.changedGroups ?? []) changedGroups.add(uid)
        for (const entity of page.entities ?? []) {
          const before = known.entities.get(keyOf(entity))
          if (
            entity.kind === 'group' &&
            (before as typeof entity | undefined)?.membersTag !== entity.membersTag
          )
            changedGroups.add(entity.attributes.uid)
        }
        take(known, page)
        if (page.mark !== undefined) known.marks.set(increment.name, JSON.parse(JSON.stringify(page.mark)))
      }
    })
  }
  for (const group of changedGroups) {
    known.memberships = new Set(
      [...known.memberships].filter((membership) => !membership.startsWith(`${group} `)),
    )
    await readMembers(known, session, 'group', group)
  }
}

export interface PlainAnswer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
  /** Instead of a body. */
  readonly text?: string
}

/** An HTTP client whose every answer is made up. */
export const speaking = (answer: (url: URL) => PlainAnswer, receivedAt: Date): HttpClient => ({
  async request({ operation, method, url }) {
    const { status = 200, headers = {}, body, text = JSON.stringify(body) } = answer(new URL(url))
    const answered = new Headers({ date: receivedAt.toUTCString(), ...headers })
    const raw = { status, fields: Object.fromEntries(answered), text, receivedAt }
    return new Answer(raw, operation, `${method} ${new URL(url).pathname}`)
  },
})
