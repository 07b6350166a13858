/** The organisation's System Log: an event or two for each thing that happens, polled or asked for by time. */
import type { Happening } from '../living-directory.ts'
import type { SandboxAnswer, SandboxRequest } from '../provider.ts'
import type { Document, Documents } from './documents.ts'
import { apiError, Refusal, refuse } from './errors.ts'
import { readFilter } from './filter.ts'
import { nextUrl, type Pager } from './paging.ts'
import { oktaId } from './principals.ts'

/** @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/systemlog */
const limits = { standard: 100, most: 1000 }
const dayMs = 24 * 60 * 60 * 1000
/** @see https://developer.okta.com/docs/reference/system-log-query/#errors */
const furthestDays = 180
const standardDays = 7

const filterProperties = [
  'eventType',
  'actor.id',
  'target.id',
  'target.type',
  'outcome.result',
  'client.ipAddress',
]

interface Target {
  readonly id: string
  readonly type: 'User' | 'UserGroup'
  readonly displayName: string
  readonly alternateId: string
}

interface Event {
  readonly type: string
  readonly at: Date
  /** Who did it; an administrator where it is nobody's own doing. */
  readonly actor?: Target
  readonly targets: readonly Target[]
  readonly ip?: string
}

export class SystemLog {
  readonly #documents: Documents
  readonly #pager: Pager
  readonly #seed: string
  /** In the order in which they were written; an event's index never changes. */
  readonly #events: Event[] = []
  /** The same text for all events of one user. */
  readonly #users = new Map<string, Target>()

  constructor(documents: Documents, pager: Pager, seed: string) {
    this.#documents = documents
    this.#pager = pager
    this.#seed = seed
    documents.directory.onChange((happening) => this.#events.push(...this.#eventsOf(happening)))
  }

  answer(request: SandboxRequest): SandboxAnswer {
    const { searchParams } = request.url
    const { test } = filterOf(searchParams.get('filter'))
    const isAscending = searchParams.get('sortOrder') !== 'DESCENDING'
    const isPolling = searchParams.get('until') === null && isAscending
    return isPolling ? this.#poll(request, test) : this.#bounded(request, test, isAscending)
  }

  /** Every event, in the order of writing, and always a link to what follows, which may be nothing yet. */
  #poll(request: SandboxRequest, test: (event: unknown) => boolean): SandboxAnswer {
    const { searchParams } = request.url
    const limit = limitOf(searchParams.get('limit'))
    const after = searchParams.get('after')
    const since = timeOf(searchParams.get('since'), 'since', request, standardDays)
    const start =
      after === null ? this.#events.findIndex(({ at }) => at > since) : this.#pager.offsetIn(after, 'log')
    const items: Document[] = []
    let index = start === -1 ? this.#events.length : start
    for (; index < this.#events.length && items.length < limit; index++) {
      const document = this.#document(index)
      const isLate = after === null && (this.#events[index]?.at ?? since) <= since
      if (!isLate && test(document)) items.push(document)
    }
    return this.#page(request, items, this.#pager.cursor('log', index))
  }

  /** Events by the time of their publishing, as far as they are there. */
  #bounded(request: SandboxRequest, test: (event: unknown) => boolean, isAscending: boolean): SandboxAnswer {
    const { searchParams } = request.url
    const limit = limitOf(searchParams.get('limit'))
    const until = timeOf(searchParams.get('until'), 'until', request, 0)
    const since = timeOf(searchParams.get('since'), 'since', { now: until }, standardDays)
    const after = searchParams.get('after')
    const start = after === null ? 0 : this.#pager.offsetIn(after, 'bounded log')
    const documents = this.#events
      .map((event, index) => ({ event, index }))
      .filter(({ event: { at } }) => at > since && at < until)
      .sort((one, other) => one.event.at.getTime() - other.event.at.getTime())
      .map(({ index }) => this.#document(index))
      .filter(test)
    if (!isAscending) documents.reverse()
    const end = start + limit
    return this.#page(
      request,
      documents.slice(start, end),
      end < documents.length ? this.#pager.cursor('bounded log', end) : undefined,
    )
  }

  #page(request: SandboxRequest, body: readonly Document[], next: string | undefined): SandboxAnswer {
    const self = `<${request.url.href}>; rel="self"`
    const link = next === undefined ? self : `${self}, <${nextUrl(request, next)}>; rel="next"`
    return { status: 200, headers: { link }, body }
  }

  #document(index: number): Document {
    const event = this.#events[index]
    if (event === undefined) throw new RangeError(`no event ${index}`)
    const { type, at, targets, ip } = event
    return {
      uuid: `${index.toString(16).padStart(8, '0')}-5bf1-11f1-8478-2b7584bf8d5a`,
      version: '0',
      published: at.toISOString(),
      eventType: type,
      severity: 'INFO',
      displayMessage: type,
      legacyEventType: null,
      outcome: { result: 'SUCCESS', reason: null },
      actor: detailed(event.actor ?? this.#userTarget(0)),
      client: {
        userAgent: null,
        zone: 'null',
        device: ip === undefined ? null : 'Computer',
        id: null,
        ipAddress: ip ?? null,
        geographicalContext: null,
      },
      authenticationContext: {
        externalSessionId: ip === undefined ? null : oktaId('trs', this.#seed, `${index}`),
      },
      securityContext: {},
      debugContext: { debugData: {} },
      transaction: { type: 'WEB', id: oktaId('Wij', this.#seed, `transaction ${index}`), detail: {} },
      request: { ipChain: ip === undefined ? [] : [{ ip, version: ip.includes(':') ? 'V6' : 'V4' }] },
      target: targets.map(detailed),
    }
  }

  /** Whoever it is about is named as they are at that moment: those who return have new ids. */
  #eventsOf({ at, change, person, group }: Happening): readonly Event[] {
    const users = person === undefined ? [] : [this.#userTarget(person)]
    const groups = group === undefined ? [] : [this.#groupTarget(group)]
    const event = (type: string, targets: readonly Target[] = users): Event => ({ type, at, targets })
    switch (change.what) {
      case 'hire':
      case 'return':
        return [event('user.lifecycle.create'), event('user.lifecycle.activate')]
      case 'edit':
        return [event(typeOfEdit[change.edit.status ?? 'none'])]
      case 'leave':
        return [event('user.lifecycle.delete.initiated'), event('user.lifecycle.delete.completed')]
      case 'sign_in':
        return [
          {
            ...event('user.session.start', []),
            ...(users[0] !== undefined && { actor: users[0] }),
            ip: change.ip,
          },
        ]
      case 'found':
        return [event('group.lifecycle.create', groups)]
      case 'rename':
        return [event('group.profile.update', groups)]
      case 'dissolve':
        return [event('group.lifecycle.delete', groups)]
      case 'join':
        return [event('group.user_membership.add', [...users, ...groups])]
      case 'quit':
        return [event('group.user_membership.remove', [...users, ...groups])]
    }
  }

  #userTarget(index: number): Target {
    const { email, givenName, familyName } = this.#documents.directory.person(index)
    const id = this.#documents.userId(index)
    const known = this.#users.get(id)
    if (known?.alternateId === email) return known
    const target: Target = { id, type: 'User', alternateId: email, displayName: `${givenName} ${familyName}` }
    this.#users.set(id, target)
    return target
  }

  #groupTarget(index: number): Target {
    const { name } = this.#documents.directory.group(index)
    return {
      id: this.#documents.groupId(index),
      type: 'UserGroup',
      alternateId: 'unknown',
      displayName: name,
    }
  }
}

const typeOfEdit = {
  none: 'user.account.update_profile',
  active: 'user.lifecycle.activate',
  suspended: 'user.lifecycle.suspend',
  deactivated: 'user.lifecycle.deactivate',
  invited: 'user.lifecycle.reactivate',
} as const

const detailed = (target: Target): Document => ({ ...target, detailEntry: null })

function filterOf(expression: string | null) {
  if (expression === null) return { test: () => true }
  try {
    return readFilter(expression, filterProperties)
  } catch (error) {
    if (error instanceof Refusal) throw refuse('E0000053', `Invalid filter '${expression}'`)
    throw error
  }
}

function limitOf(text: string | null): number {
  if (text === null) return limits.standard
  if (!/^\d{1,4}$/.test(text) || Number(text) > limits.most)
    throw refuse('E0000053', 'Invalid parameter: The limit is not between 0 and 1000.')
  return Number(text)
}

function timeOf(
  text: string | null,
  name: string,
  { now }: Pick<SandboxRequest, 'now'>,
  standard: number,
): Date {
  const time = text === null ? now.getTime() - standard * dayMs : Date.parse(text)
  if (Number.isNaN(time))
    throw refuse(
      'E0000001',
      `'${name}': The date format in your query is not recognized. Please enter dates using ISO8601 string format. '${name}': must be a valid date-time or empty.`,
    )
  if (time < now.getTime() - furthestDays * dayMs)
    throw new Refusal(
      apiError(
        'E0000053',
        `Invalid parameter: The ${name} parameter is over ${furthestDays} days prior to the current day.`,
      ),
    )
  return new Date(time)
}
