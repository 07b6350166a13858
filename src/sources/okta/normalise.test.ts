import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Device } from '../../entities/model.ts'
import { deviceOf, groupOf, identityOf, ownersOf } from './normalise.ts'

const user = {
  id: '00u1a2b3c4d5e6f7g8h9',
  status: 'ACTIVE',
  created: '2024-01-02T03:04:05.000Z',
  activated: '2024-01-02T03:05:00.000Z',
  statusChanged: '2024-01-02T03:05:00.000Z',
  lastLogin: '2026-11-20T08:00:00.000Z',
  lastUpdated: '2026-10-01T00:00:00.000Z',
  passwordChanged: '2024-01-02T03:05:00.000Z',
  type: { id: 'oty1' },
  profile: {
    login: 'ada@acme.com',
    email: 'Ada@acme.com',
    secondEmail: 'ada@home.example',
    firstName: 'Ada',
    lastName: 'Lovelace',
    title: 'Engineer',
    department: 'IT',
    division: 'Tech',
    costCenter: '42',
    organization: 'Acme',
    manager: 'Grace Hopper',
    managerId: 'Grace@acme.com',
    employeeNumber: '1001',
    userType: 'Employee',
    city: 'London',
    state: 'Greater London',
    countryCode: 'GB',
    mobilePhone: '+44 1',
    timezone: 'Europe/London',
    nickName: null,
    badge: 'B7',
    apiToken: 'x',
  },
  credentials: { password: {}, provider: { type: 'OKTA' } },
  _links: { self: { href: 'https://acme.okta.com/api/v1/users/00u1' } },
}
const withProfile = (profile: object, more: object = {}) => ({
  ...user,
  ...more,
  profile: { ...user.profile, ...profile },
})

test('a user becomes an identity with everything that the model has a place for', () => {
  assert.deepEqual(identityOf(user), {
    kind: 'identity',
    attributes: {
      uid: user.id,
      name: 'ada@acme.com',
      email_addr: 'Ada@acme.com',
      email_addrs: ['ada@acme.com', 'ada@home.example'],
      full_name: 'Ada Lovelace',
      given_name: 'Ada',
      surname: 'Lovelace',
      status: 'active',
      status_detail: 'ACTIVE',
      job_title: 'Engineer',
      department: 'IT',
      division: 'Tech',
      cost_center: '42',
      company: 'Acme',
      manager: { name: 'Grace Hopper', email_addr: 'grace@acme.com' },
      employee_uid: '1001',
      employee_type: 'Employee',
      location: { city: 'London', region: 'Greater London', country: 'GB' },
      phone_number: '+44 1',
      time_zone: 'Europe/London',
      created_time: '2024-01-02T03:04:05.000Z',
      modified_time: '2026-10-01T00:00:00.000Z',
    },
    raw: {
      activated: '2024-01-02T03:05:00.000Z',
      passwordChanged: '2024-01-02T03:05:00.000Z',
      profile: { badge: 'B7' },
      statusChanged: '2024-01-02T03:05:00.000Z',
      type: { id: 'oty1' },
    },
    activity: { last_login_time: '2026-11-20T08:00:00.000Z' },
  })
})

test('every status of Okta is told from those who may sign in', () => {
  const expected = {
    ACTIVE: 'active',
    PASSWORD_EXPIRED: 'active',
    RECOVERY: 'active',
    LOCKED_OUT: 'locked',
    SUSPENDED: 'suspended',
    STAGED: 'inactive',
    PROVISIONED: 'inactive',
    ACTIVATING: 'inactive',
    DEPROVISIONED: 'deactivated',
  }
  for (const [status, ours] of Object.entries(expected))
    assert.partialDeepStrictEqual(identityOf({ ...user, status }), {
      attributes: { status: ours, status_detail: status },
    })
})

test('names are told as they are, without what nobody sees', () => {
  for (const name of ['Équipe Basic Assistants', 'Zürich Bearer Instruments', 'p < div', 'A & B < C > D'])
    assert.partialDeepStrictEqual(groupOf({ id: '00g1', profile: { name } }), { attributes: { name } })
  assert.partialDeepStrictEqual(
    groupOf({ id: '00g1', profile: { name: 'Sales\u202e\u0007 \u001b[31mEMEA' } }),
    { attributes: { name: 'Sales EMEA' } },
  )
  assert.partialDeepStrictEqual(identityOf(withProfile({ department: 'Área Basic Engineering' })), {
    attributes: { department: 'Área Basic Engineering' },
  })
})

test('what cannot be read is named, never guessed', () => {
  const { id: uid } = user
  assert.deepEqual(identityOf(null), { reason: 'a user without an id' })
  assert.deepEqual(identityOf({ ...user, id: '../groups' }), { reason: 'a user without an id' })
  assert.deepEqual(identityOf({ ...user, status: 'RETIRED' }), {
    uid,
    reason: 'a user without a status that Okta documents',
  })
  assert.deepEqual(identityOf({ ...user, profile: null }), { uid, reason: 'a user without a profile' })
  assert.deepEqual(identityOf(withProfile({ login: '' })), { uid, reason: 'a user without a login' })
  assert.deepEqual(groupOf({ id: '00g1', profile: {} }), { uid: '00g1', reason: 'a group without a name' })
  assert.deepEqual(deviceOf({ id: 'guo1' }), { uid: 'guo1', reason: 'a device without a profile' })
})

test('a sign-in, links and the order of members change nothing of the content', () => {
  const contentOf = (record: unknown) => {
    const { attributes, raw } = identityOf(record) as { attributes: object; raw: object }
    return JSON.stringify([attributes, raw])
  }
  const { profile, ...rest } = user
  const reversed = Object.fromEntries(Object.entries({ ...rest, profile }).reverse())
  const later = { ...reversed, lastLogin: '2026-11-24T00:00:00.000Z', _links: {} }
  assert.equal(contentOf(later), contentOf(user))
  assert.notEqual(contentOf(withProfile({ title: 'Lead' })), contentOf(user))
})

test('a manager’s id that is an id is told as one, and one that is neither stays in the raw document', () => {
  const managerOf = (managerId: string) => identityOf(withProfile({ managerId, manager: undefined }))
  assert.partialDeepStrictEqual(managerOf('00uAAAAAAAAAAAAAAAAA'), {
    attributes: { manager: { uid: '00uAAAAAAAAAAAAAAAAA' } },
  })
  assert.partialDeepStrictEqual(managerOf('E-17'), { raw: { profile: { managerId: 'E-17' } } })
})

test('a group has its members counted, and a tag that moves with them', () => {
  const record = {
    id: '00g1',
    created: '2024-01-02T03:04:05.000Z',
    lastUpdated: '2024-01-02T03:04:05.000Z',
    lastMembershipUpdated: '2026-10-01T00:00:00.000Z',
    objectClass: ['okta:user_group'],
    type: 'OKTA_GROUP',
    profile: { name: 'Sales', description: 'All of sales' },
    _embedded: { stats: { usersCount: 7 } },
    _links: {},
  }
  assert.deepEqual(groupOf(record), {
    kind: 'group',
    attributes: {
      uid: '00g1',
      name: 'Sales',
      desc: 'All of sales',
      type: 'OKTA_GROUP',
      created_time: '2024-01-02T03:04:05.000Z',
      modified_time: '2024-01-02T03:04:05.000Z',
    },
    raw: { objectClass: ['okta:user_group'] },
    memberCount: 7,
    membersTag: '2026-10-01T00:00:00.000Z',
  })
})

test('a device tells its system, its serial number and whose it is', () => {
  const record = {
    id: 'guo1',
    status: 'ACTIVE',
    created: '2024-01-02T03:04:05.000Z',
    lastUpdated: '2024-01-03T03:04:05.000Z',
    profile: {
      displayName: 'MAC-1',
      platform: 'MACOS',
      osVersion: '26.1',
      model: 'Mac15,6',
      manufacturer: 'Apple',
      serialNumber: 'C02',
      udid: 'U-1',
      registered: true,
      tpmPublicKeyHash: 'x',
      diskEncryptionType: 'ALL_INTERNAL_VOLUMES',
    },
    _embedded: {
      users: [
        { managementStatus: 'NOT_MANAGED', user: { id: '00u2' } },
        { managementStatus: 'MANAGED', user: { id: '00u1' } },
        { managementStatus: 'MANAGED', user: { id: '00u1' } },
      ],
    },
  }
  assert.deepEqual(deviceOf(record), {
    kind: 'device',
    attributes: {
      uid: 'guo1',
      uid_alt: 'U-1',
      name: 'MAC-1',
      os: { name: 'macOS', version: '26.1' },
      model: 'Mac15,6',
      vendor_name: 'Apple',
      hw_info: { serial_number: 'C02' },
      status: 'ACTIVE',
      is_managed: true,
      created_time: '2024-01-02T03:04:05.000Z',
    },
    raw: { profile: { diskEncryptionType: 'ALL_INTERNAL_VOLUMES', registered: true } },
    activity: { last_seen_time: '2024-01-03T03:04:05.000Z' },
  })
  assert.deepEqual(ownersOf(record), ['00u1', '00u2'])
})

test('a device that somebody signs in with changes nothing of its content, and one that may not was not seen', () => {
  const record = (lastUpdated: string, status: string) =>
    deviceOf({ id: 'guo1', status, lastUpdated, profile: { displayName: 'MAC-1' } }) as Device
  const [one, other] = [record('2026-11-23T00:00:00Z', 'ACTIVE'), record('2026-11-24T00:00:00Z', 'ACTIVE')]
  assert.deepEqual({ ...one, activity: undefined }, { ...other, activity: undefined })
  assert.equal(other.activity?.last_seen_time, '2026-11-24T00:00:00.000Z')
  for (const status of ['CREATED', 'SUSPENDED', 'DEACTIVATED', undefined])
    assert.equal(record('2026-11-24T00:00:00Z', String(status)).activity, undefined)
})

test('whatever a record holds, the result can be stored, or the record is named', () => {
  const anything = fc.jsonValue({ maxDepth: 3, stringUnit: 'binary' })
  const record = fc.record({
    id: fc.oneof(fc.constant('00u1'), anything),
    status: fc.oneof(fc.constant('ACTIVE'), anything),
    created: fc.oneof(fc.string(), fc.constantFrom('+275760-01-01T00:00:00Z', '2026-13-01T00:00:00Z', '0')),
    profile: fc.oneof(
      fc.record({
        login: fc.string({ unit: 'binary' }),
        email: anything,
        firstName: anything,
        displayName: anything,
        managerId: anything,
        city: anything,
      }),
      anything,
    ),
  })
  fc.assert(
    fc.property(record, (given) => {
      const read = identityOf(given)
      if ('reason' in read) return
      const text = JSON.stringify(read)
      assert.ok(text.isWellFormed())
      assert.doesNotMatch(text, /\\u00[01]|\\ud[89a-f]|null/i)
      assert.match(
        read.attributes.created_time ?? '2026-01-01T00:00:00.000Z',
        /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
      )
    }),
    { numRuns: 2000 },
  )
})
