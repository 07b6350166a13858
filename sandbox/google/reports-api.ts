/** The Admin SDK's Reports API, as far as it tells what happened to groups. */
import { createHmac, randomBytes } from 'node:crypto'
import type { Happening } from '../living-directory.ts'
import type { SandboxAnswer, SandboxRequest } from '../provider.ts'
import { scopePrefix } from './accounts.ts'
import { apiRefusal, insufficientScope, invalid, invalidParameter, notAuthorized } from './errors.ts'
import { selectFields } from './fields.ts'
import {
  customerId,
  etagOf,
  firstAdministrator,
  groupEmail,
  type Organisation,
  type Privilege,
} from './organisation.ts'
import type { Grant } from './token-endpoint.ts'

export const reportsPath = '/admin/reports/v1/'
const activitiesPath = `${reportsPath}activity/users/all/applications/`
const scope = `${scopePrefix}admin.reports.audit.readonly`

/** @see https://developers.google.com/workspace/admin/reports/v1/limits */
const largestPage = 1000
/** Days that the log holds. @see https://support.google.com/a/answer/7061566 */
const logDays = 180

export function createReportsApi(organisation: Organisation) {
  const { directory } = organisation
  const pageKey = randomBytes(32)

  /** What the log of groups holds of a happening: a deleted account leaves its groups without an entry. */
  const eventOf = ({ change, person, group }: Happening) => {
    const at = (name: string, groupIndex: number, parameters: readonly object[] = []) => ({
      type: 'moderator_action',
      name,
      parameters: [
        { name: 'group_id', value: groupEmail(directory.group(groupIndex)) },
        ...parameters,
        { name: 'namespace', value: customerId },
      ],
    })
    const member = (index: number) => [
      { name: 'member_id', value: organisation.emailOf(directory.person(index)) },
      { name: 'member_role', value: 'member' },
      { name: 'member_type', value: 'user' },
    ]
    switch (change.what) {
      case 'hire':
      case 'return':
        return directory.hasGroup(0) ? at('add_member', 0, member(person ?? 0)) : undefined
      case 'join':
        return at('add_member', group ?? 0, member(person ?? 0))
      case 'quit':
        return at('remove_member', group ?? 0, member(person ?? 0))
      case 'found':
        return at('create_group', group ?? 0)
      case 'dissolve':
        return at('delete_group', group ?? 0)
      case 'rename':
        return at('change_info_setting', group ?? 0, [{ name: 'info_setting', value: 'name' }])
      default:
        return undefined
    }
  }

  const activityOf = (happening: Happening) => {
    const event = eventOf(happening)
    if (event === undefined) return undefined
    return {
      kind: 'admin#reports#activity',
      id: {
        time: happening.at.toISOString(),
        uniqueQualifier: String(7_000_000_000_000 + happening.sequence),
        applicationName: 'groups_enterprise',
        customerId,
      },
      etag: etagOf('activity', happening.sequence),
      actor: { callerType: 'USER', email: firstAdministrator },
      ipAddress: '203.0.113.9',
      events: [event],
    }
  }

  const list = ({ url, now }: SandboxRequest) => {
    const query = url.searchParams
    const since = Math.max(timeOf(query, 'startTime', now) ?? 0, now.getTime() - logDays * 86_400_000)
    const until = timeOf(query, 'endTime', now) ?? now.getTime()
    if (since >= until && query.has('startTime'))
      throw invalidParameter('startTime', 'Start time must be before end time.')
    const size = pageSize(query)
    const name = ['startTime', 'endTime', 'eventName'].map((each) => query.get(each)).join('\0')
    const seal = (payload: string) =>
      createHmac('sha256', pageKey).update(`${name}\0${payload}`).digest('base64url').slice(0, 22)
    const token = query.get('pageToken')
    let below = Number.POSITIVE_INFINITY
    if (token !== null) {
      const [payload = '', signature] = token.split('.')
      if (signature !== seal(payload)) throw invalid('Invalid value for page token.')
      below = Number(payload)
    }
    const eventName = query.get('eventName')
    // Newest first, as the log shows them.
    const entries = directory
      .changesSince(0)
      .filter(({ sequence, at }) => sequence < below && at.getTime() >= since && at.getTime() <= until)
      .reverse()
      .flatMap((happening) => {
        const activity = activityOf(happening)
        if (activity === undefined) return []
        const isWanted = eventName === null || activity.events.some((event) => event.name === eventName)
        return isWanted ? [{ sequence: happening.sequence, activity }] : []
      })
    const items = entries.slice(0, size)
    const last = items.at(-1)
    const goesOn = entries.length > items.length && last !== undefined
    return {
      kind: 'admin#reports#activities',
      etag: etagOf('activities', name, below),
      ...(items.length > 0 && { items: items.map(({ activity }) => activity) }),
      ...(goesOn && { nextPageToken: `${last.sequence}.${seal(String(last.sequence))}` }),
    }
  }

  return {
    handle(request: SandboxRequest, grant: Grant, ownPrivileges: readonly Privilege[]): SandboxAnswer {
      const { pathname, searchParams } = request.url
      if (!pathname.startsWith(activitiesPath) || request.method !== 'GET')
        throw apiRefusal(404, { reason: 'notFound', message: 'Not Found' })
      if (!grant.scopes.includes(scope)) throw insufficientScope(scope)
      const privileges =
        grant.userIndex === undefined ? ownPrivileges : organisation.privilegesOf(grant.userIndex)
      if (!privileges.includes('reports')) throw notAuthorized()
      if (pathname.slice(activitiesPath.length) !== 'groups_enterprise')
        throw invalidParameter('applicationName', 'Unknown application.')
      const body = list(request)
      const fields = searchParams.get('fields')
      return {
        status: 200,
        headers: { 'cache-control': 'private', etag: body.etag },
        body: fields === null || fields === '' ? body : selectFields(body, fields),
      }
    },
  }
}

function timeOf(query: URLSearchParams, name: string, now: Date): number | undefined {
  const text = query.get(name)
  if (text === null) return undefined
  const time = /^\d{4}-\d{2}-\d{2}T[\d:.]+(?:Z|[+-]\d{2}:\d{2})$/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(time) || (name === 'startTime' && time >= now.getTime()))
    throw invalidParameter(name, `Invalid value '${text}'.`)
  return time
}

function pageSize(query: URLSearchParams): number {
  const text = query.get('maxResults')
  if (text === null) return largestPage
  const size = /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN
  if (!(size >= 1 && size <= largestPage))
    throw invalidParameter(
      'maxResults',
      `Invalid value '${text}'. Values must be within the range: [1, ${largestPage}]`,
    )
  return size
}
