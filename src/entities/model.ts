/**
 * The identity model: what an entity is, whatever source it came from. Names are OCSF's (`user`, `device`, `group`,
 * `ldap_person`) where it has them; times are RFC 3339 in UTC.
 *
 * Words, with one meaning everywhere: an *entity* is a person, group or device that a sync configuration's source
 * holds. A *revision* is what was known of it for a while. A *sighting* is the last moment for which a run proved that
 * it was so. A *run* reads *lists*, page by page; a *cursor* says where a list goes on; a *mark* says where the next
 * increment goes on. A *fact* is told of an entity by a list of its own.
 *
 * @see https://schema.ocsf.io/objects/user
 * @see https://schema.ocsf.io/objects/device
 */
import { hash } from 'node:crypto'

export const entityKinds = ['identity', 'group', 'device'] as const
export type EntityKind = (typeof entityKinds)[number]

/** On the wire, for `type` and `entity_type`. */
export const entityTypes: Readonly<Record<EntityKind, string>> = {
  identity: 'siem_entity_identity',
  group: 'siem_entity_group',
  device: 'siem_entity_device',
}

/** In rows; never renumbered. */
export const kindNumbers: Readonly<Record<EntityKind, number>> = { identity: 1, group: 2, device: 3 }

/**
 * - `active`: may sign in
 * - `inactive`: was never activated
 * - `locked`: by too many failures, until somebody or time lifts it
 * - `suspended`: by an administrator, for a while
 * - `deactivated`: for good, as far as the source tells; restorable deletions too
 */
export const identityStatuses = ['active', 'inactive', 'locked', 'suspended', 'deactivated'] as const
export type IdentityStatus = (typeof identityStatuses)[number]

/**
 * What of an identity is a matter of content: a change of it makes a revision. Members that are unknown are left out,
 * never null or empty. What changes by itself (last sign-in, etags, counters) has no place here.
 */
export interface IdentityAttributes {
  /** The provider's own unchanging id. */
  readonly uid: string
  /** A second id: a SID, an immutable id. */
  readonly uid_alt?: string
  /** The user name: login, primary e-mail, user principal name. As the provider spells it. */
  readonly name: string
  readonly email_addr?: string
  /** Every address, `email_addr` and aliases included: lower case, sorted, without repeats. */
  readonly email_addrs?: readonly string[]
  readonly full_name?: string
  readonly given_name?: string
  readonly surname?: string
  /** OCSF's `type`: `User`, `Admin`, `System`, `Service`, or `Guest` (ours). `User` is left out. */
  readonly type?: 'Admin' | 'System' | 'Service' | 'Guest'
  readonly status: IdentityStatus
  /** The provider's own word for the status: `PASSWORD_EXPIRED`. */
  readonly status_detail?: string
  readonly job_title?: string
  readonly department?: string
  readonly division?: string
  readonly cost_center?: string
  readonly company?: string
  readonly manager?: { readonly uid?: string; readonly name?: string; readonly email_addr?: string }
  readonly employee_uid?: string
  readonly employee_type?: string
  readonly office_location?: string
  readonly location?: { readonly city?: string; readonly region?: string; readonly country?: string }
  /** Organisational unit's path. */
  readonly org_unit?: string
  readonly phone_number?: string
  readonly time_zone?: string
  readonly has_mfa?: boolean
  /** An administrator of the source, as the user's own document tells; roles tell it too. */
  readonly is_privileged?: boolean
  readonly hire_time?: string
  readonly leave_time?: string
  readonly created_time?: string
  readonly modified_time?: string
}

export interface GroupAttributes {
  readonly uid: string
  readonly name: string
  readonly email_addr?: string
  readonly email_addrs?: readonly string[]
  readonly desc?: string
  /** The provider's word: `BUILT_IN`, `APP_GROUP`, `Unified`, `security`, `dynamic`. */
  readonly type?: string
  readonly created_time?: string
  readonly modified_time?: string
}

export interface DeviceAttributes {
  readonly uid: string
  readonly uid_alt?: string
  readonly name?: string
  readonly hostname?: string
  /** OCSF's `type`: `Desktop`, `Laptop`, `Tablet`, `Mobile`, `Virtual`, `Server`, `Unknown`. */
  readonly type?: string
  readonly os?: { readonly name?: string; readonly version?: string }
  readonly model?: string
  readonly vendor_name?: string
  readonly hw_info?: { readonly serial_number?: string }
  readonly imei?: string
  readonly mac?: string
  readonly status?: string
  readonly is_managed?: boolean
  readonly is_compliant?: boolean
  readonly is_personal?: boolean
  readonly is_trusted?: boolean
  readonly org_unit?: string
  /** Where the device's own document names its owner. */
  readonly owner?: { readonly uid?: string; readonly name?: string; readonly email_addr?: string }
  readonly created_time?: string
  readonly modified_time?: string
}

interface EntityOf<K extends EntityKind, A> {
  readonly kind: K
  readonly attributes: A
  /** What the provider says besides, small and without secrets; a change of it makes a revision. See `smallRaw`. */
  readonly raw?: Readonly<Record<string, unknown>>
  /** Changes by itself: kept beside the revision and never makes one. */
  readonly activity?: Activity
}
export type Identity = EntityOf<'identity', IdentityAttributes>
export type Group = EntityOf<'group', GroupAttributes> & {
  /** How many direct members the provider counts; decides how memberships are read. */
  readonly memberCount?: number
  /** Changes whenever the group's members may have changed, where the provider has such a thing. */
  readonly membersTag?: string
}
export type Device = EntityOf<'device', DeviceAttributes>
export type Entity = Identity | Group | Device

/** What is true of the moment alone. */
export interface Activity {
  /** Last sign-in of an identity, or last sight of a device. RFC 3339. */
  readonly last_login_time?: string
  /** Of that sign-in, where it is told. */
  readonly last_login_ip?: string
  readonly last_seen_time?: string
}

/** Facts that a list of their own tells of an entity. `roles` and `mfa_methods` are sets, `owners` too; `has_mfa` is one value. */
export const factNames = ['roles', 'mfa_methods', 'has_mfa', 'owners'] as const
export type FactName = (typeof factNames)[number]
export type Fact =
  | {
      readonly kind: 'identity'
      readonly uid: string
      readonly name: 'roles' | 'mfa_methods'
      readonly value: string
    }
  | { readonly kind: 'identity'; readonly uid: string; readonly name: 'has_mfa'; readonly value: boolean }
  | { readonly kind: 'device'; readonly uid: string; readonly name: 'owners'; readonly value: string }

/** That an entity (of any kind) is a direct member of a group. */
export interface Membership {
  readonly group: string
  readonly member: string
  /** In increments alone; everywhere else a membership is told because it is there. */
  readonly change?: 'added' | 'removed'
}

/**
 * The id of an entity, the same for ever: of organisation, configuration, kind and the provider's id, each with its
 * length, so that no two are alike. A UUID in form.
 */
export function entityId(organizationId: string, configId: string, kind: EntityKind, uid: string): string {
  const digest = hash('sha256', `${organizationId} ${configId} ${kind} ${uid.length}:${uid}`, 'hex')
  // Version 8: made by a rule of ours. @see https://www.rfc-editor.org/rfc/rfc9562#section-5.8
  return `${digest.slice(0, 8)}-${digest.slice(8, 12)}-8${digest.slice(13, 16)}-${'89ab'[Number.parseInt(digest[16] ?? '0', 16) & 3]}${digest.slice(17, 20)}-${digest.slice(20, 32)}`
}
