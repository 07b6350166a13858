/** Entities as answers show them: put together from stored texts, which are not parsed for it. */
import type { RevisionRow } from '../store/entity-rows.ts'
import { type EntityKind, entityKinds, entityTypes, kindNumbers } from './model.ts'

export const kindOfNumber = new Map<number, EntityKind>(entityKinds.map((kind) => [kindNumbers[kind], kind]))

function configMembers({ config, config_id }: RevisionRow): string {
  const [type = ''] = config.split(' ', 1)
  const source = type.toLowerCase().replaceAll('_', '-')
  return `"domain":${JSON.stringify(config.slice(type.length + 1))},"source":"${source}","config_id":"${config_id}"`
}

/** The members of an object's text, without its braces. */
const members = (text: string) => text.slice(1, -1)

/**
 * The attributes of a revision as JSON: the model's, and what the configuration, the facts, the groups and the moment
 * add. A fact goes before what the entity's own document says of the same.
 *
 * @param momentMs what happened later was not known then
 */
export function attributesText(row: RevisionRow, momentMs: number): string {
  const { facts, groups, activity, raw } = row
  // A name in quotes with a colon after it is a member's: within a text, its quotes would be escaped.
  const hasRoles = /"roles": ?\["/.test(facts)
  const tellsMfa = facts.includes('"has_mfa":')
  let own = members(row.attributes)
  if (tellsMfa) own = own.replace(/,"has_mfa":(?:true|false)/, '')
  if (hasRoles) own = own.replace(/,"is_privileged":(?:true|false)/, '')
  let text = `{${own},${configMembers(row)}`
  if (facts !== '{}') text += `,${members(facts)}`
  if (!tellsMfa && /"mfa_methods": ?\["/.test(facts) && !own.includes(',"has_mfa":'))
    text += ',"has_mfa":true'
  if (hasRoles) text += ',"is_privileged":true'
  if (groups !== '[]') text += `,"groups":${groups}`
  if (activity !== '{}') text += activityMembers(activity, momentMs)
  if (raw !== undefined && raw !== '{}') text += `,"raw":${raw}`
  return `${text}}`
}

function activityMembers(activity: string, momentMs: number): string {
  return isLaterIn(activity, 'last_login_time', momentMs) || isLaterIn(activity, 'last_seen_time', momentMs)
    ? membersUntil(activity, momentMs)
    : `,${members(activity)}`
}

/** Times have no quotes within. */
function isLaterIn(activity: string, name: string, momentMs: number): boolean {
  const at = activity.indexOf(`"${name}":"`)
  if (at === -1) return false
  const begin = at + name.length + 4
  return Date.parse(activity.slice(begin, activity.indexOf('"', begin))) > momentMs
}

/** The address of a sign-in goes with its time. */
function membersUntil(activity: string, momentMs: number): string {
  const known: Record<string, unknown> = JSON.parse(activity)
  const isLater = (time: unknown) => typeof time === 'string' && Date.parse(time) > momentMs
  const { last_login_time, last_login_ip, last_seen_time, ...more } = known
  const text = JSON.stringify({
    ...(!isLater(last_login_time) && { last_login_time, last_login_ip }),
    ...(!isLater(last_seen_time) && { last_seen_time }),
    ...more,
  })
  return text === '{}' ? '' : `,${members(text)}`
}

/** RFC 3339, to the millisecond, of a time as a row has it. */
export const timeText = (time: string) =>
  `${time.slice(0, 10)}T${time.slice(11, 19)}.${time.slice(20, 23).padEnd(3, '0')}Z`

export const revisionText = (row: RevisionRow, momentMs: number) =>
  `{"attributes":${attributesText(row, momentMs)},"first_seen_at":"${timeText(row.first_seen_at)}","last_seen_at":"${timeText(row.last_seen_at)}"}`

/** An entity from its revisions, which are in the order of time. */
export function entityText(revisions: readonly [RevisionRow, ...RevisionRow[]], momentMs: number): string {
  const [{ entity_id, kind }] = revisions
  const type = entityTypes[kindOfNumber.get(kind) ?? 'identity']
  return `{"id":"${entity_id}","type":"${type}","attributes":{"revisions":[${revisions
    .map((row) => revisionText(row, momentMs))
    .join(',')}]}}`
}

/** Rows in the order of entities, taken together by entity. */
export function byEntity<R extends RevisionRow>(rows: readonly R[]): (readonly [R, ...R[]])[] {
  const entities: [R, ...R[]][] = []
  for (const row of rows) {
    const last = entities.at(-1)
    if (last?.[0].entity_id === row.entity_id) last.push(row)
    else entities.push([row])
  }
  return entities
}
