/**
 * Entities as OCSF events: what was there as inventory, what changed as entity management.
 *
 * @see https://schema.ocsf.io/1.8.0/classes/user_inventory
 * @see https://schema.ocsf.io/1.8.0/classes/inventory_info
 * @see https://schema.ocsf.io/1.8.0/classes/entity_management
 */
import type { DeviceAttributes, EntityKind, GroupAttributes, IdentityAttributes } from './model.ts'

export const ocsfVersion = '1.8.0'

interface Common {
  readonly domain: string
  readonly source: string
  readonly config_id: string
  readonly groups?: readonly { readonly uid: string; readonly name: string }[]
}

/** A revision's attributes as answers show them. */
export type ShownAttributes = Common & Readonly<Record<string, unknown>>
type Shown<A> = A & Common & Readonly<Record<string, unknown>>

export interface OcsfSubject {
  readonly kind: EntityKind
  /** Ours. */
  readonly id: string
  readonly attributes: ShownAttributes
}

type Members = Readonly<Record<string, unknown>>

/** Without members that are not known. */
const known = (members: Members): Members =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined))

/** Times in OCSF are milliseconds since 1970. */
const epochMs = (time: string | undefined) => {
  const ms = time === undefined ? Number.NaN : Date.parse(time)
  return Number.isNaN(ms) ? undefined : ms
}

const userTypeIds: Readonly<Record<string, number>> = { User: 1, Admin: 2, System: 3, Service: 4 }

export function ocsfUser(shown: ShownAttributes): Members {
  const user = shown as Shown<IdentityAttributes & { last_login_time?: string }>
  const { type = 'User' } = user
  const person = known({
    email_addrs: user.email_addrs,
    given_name: user.given_name,
    surname: user.surname,
    job_title: user.job_title,
    department: user.department,
    cost_center: user.cost_center,
    employee_uid: user.employee_uid,
    labels: user.employee_type === undefined ? undefined : [user.employee_type],
    location: user.location,
    manager: user.manager,
    office_location: user.office_location,
    created_time: epochMs(user.created_time),
    modified_time: epochMs(user.modified_time),
    hire_time: epochMs(user.hire_time),
    leave_time: epochMs(user.leave_time),
    last_login_time: epochMs(user.last_login_time),
  })
  return known({
    uid: user.uid,
    uid_alt: user.uid_alt,
    name: user.name,
    full_name: user.full_name,
    email_addr: user.email_addr,
    domain: user.domain,
    phone_number: user.phone_number,
    has_mfa: user.has_mfa,
    type,
    type_id: userTypeIds[type] ?? 99,
    groups: user.groups,
    org: orgOf(user.company, user.org_unit ?? user.division),
    ldap_person: Object.keys(person).length > 0 ? person : undefined,
  })
}

const orgOf = (name: string | undefined, unit: string | undefined) =>
  name === undefined && unit === undefined ? undefined : known({ name, ou_name: unit })

function ocsfGroup(shown: ShownAttributes): Members {
  const { uid, name, desc, type, domain } = shown as Shown<GroupAttributes>
  return known({ uid, name, desc, type, domain })
}

/** @see https://schema.ocsf.io/1.8.0/objects/device */
const deviceTypeIds: Readonly<Record<string, number>> = {
  Unknown: 0,
  Server: 1,
  Desktop: 2,
  Laptop: 3,
  Tablet: 4,
  Mobile: 5,
  Virtual: 6,
}

/** @see https://schema.ocsf.io/1.8.0/objects/os */
const systems: readonly (readonly [pattern: RegExp, id: number])[] = [
  [/windows (?:phone|mobile)/i, 101],
  [/windows/i, 100],
  [/android/i, 201],
  [/mac ?os|os ?x/i, 300],
  [/ipados/i, 302],
  [/\bios\b|iphone/i, 301],
  [/linux|chrome/i, 200],
]

function ocsfDevice(shown: ShownAttributes): Members {
  const device = shown as Shown<DeviceAttributes & { last_seen_time?: string }>
  const { type = 'Unknown', os } = device
  return known({
    uid: device.uid,
    uid_alt: device.uid_alt,
    name: device.name,
    hostname: device.hostname,
    domain: device.domain,
    type,
    type_id: deviceTypeIds[type] ?? 99,
    os:
      os?.name === undefined
        ? undefined
        : known({
            name: os.name,
            version: os.version,
            type_id: systems.find(([pattern]) => pattern.test(os.name ?? ''))?.[1] ?? 0,
          }),
    model: device.model,
    vendor_name: device.vendor_name,
    hw_info: device.hw_info,
    imei: device.imei,
    mac: device.mac,
    owner: device.owner === undefined ? undefined : { ...device.owner, type_id: 0 },
    org: orgOf(undefined, device.org_unit),
    is_managed: device.is_managed,
    is_compliant: device.is_compliant,
    is_personal: device.is_personal,
    is_trusted: device.is_trusted,
    groups: device.groups,
    created_time: epochMs(device.created_time),
    modified_time: epochMs(device.modified_time),
    last_seen_time: epochMs(device.last_seen_time),
  })
}

const objects = {
  identity: { name: 'user', type: 'User', typeId: 2, make: ocsfUser, inventoryClass: 5003 },
  device: { name: 'device', type: 'Device', typeId: 1, make: ocsfDevice, inventoryClass: 5001 },
  // There is no inventory of groups: what is there is told as read.
  group: { name: 'group', type: 'Group', typeId: 3, make: ocsfGroup, inventoryClass: undefined },
} as const satisfies Readonly<Record<EntityKind, unknown>>

/** What was there at a time. */
export function inventoryEvent(subject: OcsfSubject, timeMs: number): Members {
  const { name, make, inventoryClass } = objects[subject.kind]
  return inventoryClass === undefined
    ? managementEvent(subject, 'read', timeMs)
    : { ...eventOf(subject, inventoryClass, 2, timeMs), [name]: make(subject.attributes) }
}

const activityIds = { created: 1, read: 2, updated: 3, removed: 4 } as const

/** What became of it at a time. */
export function managementEvent(
  subject: OcsfSubject,
  activity: keyof typeof activityIds,
  timeMs: number,
): Members {
  const { name, type, typeId, make } = objects[subject.kind]
  const made = make(subject.attributes)
  return {
    ...eventOf(subject, 3004, activityIds[activity], timeMs),
    entity: known({ uid: made.uid, name: made.name, type, type_id: typeId, [name]: made }),
  }
}

const eventOf = ({ id, attributes }: OcsfSubject, classUid: number, activityId: number, timeMs: number) => ({
  category_uid: Math.floor(classUid / 1_000),
  class_uid: classUid,
  activity_id: activityId,
  type_uid: classUid * 100 + activityId,
  severity_id: 1,
  time: timeMs,
  metadata: { version: ocsfVersion, product: { name: 'Credence' }, log_name: attributes.source },
  unmapped: known({
    entity_id: id,
    config_id: attributes.config_id,
    status: attributes.status,
    is_privileged: attributes.is_privileged,
    roles: attributes.roles,
  }),
})
