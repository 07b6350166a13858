import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { groupOf, identityOf } from './normalise.ts'
import { chromeDeviceOf, mobileDeviceOf } from './normalise-devices.ts'

/** Everything that Google's reference knows of a user, and what is not to be kept. */
const ada = {
  kind: 'admin#directory#user',
  id: '114511147312345678901',
  etag: '"b3B1-canary-etag"',
  primaryEmail: 'Ada.Lovelace@Example.com',
  name: { givenName: 'Ada', familyName: 'Lovelace', fullName: 'Ada Lovelace', displayName: 'Ada' },
  password: 'canary-password',
  hashFunction: 'canary-hash',
  recoveryEmail: 'canary-recovery@gmail.com',
  recoveryPhone: '+1555canary',
  thumbnailPhotoUrl: 'https://photos.example/canary-photo',
  isAdmin: false,
  isDelegatedAdmin: true,
  isGuestUser: false,
  lastLoginTime: '2026-11-20T08:00:00.000Z',
  creationTime: '2017-01-09T12:00:00.000Z',
  agreedToTerms: true,
  suspended: false,
  archived: false,
  changePasswordAtNextLogin: false,
  ipWhitelisted: false,
  emails: [
    { address: 'ada.lovelace@example.com', primary: true },
    { address: 'Countess@example.net', type: 'work' },
  ],
  aliases: ['al@example.com'],
  nonEditableAliases: ['ada.lovelace@example.com.test-google-a.com'],
  externalIds: [
    { value: '1815', type: 'organization' },
    { value: 'x', type: 'network' },
  ],
  relations: [
    { value: 'spouse@example.com', type: 'spouse' },
    { value: 'Charles.Babbage@example.com', type: 'manager' },
  ],
  organizations: [
    { name: 'Old Ltd', title: 'Student' },
    {
      name: 'Analytical Engines',
      title: 'Programmer',
      primary: true,
      department: 'Research',
      costCenter: '42',
      description: 'Contractor',
      location: 'London 3',
      domain: 'example.com',
    },
  ],
  addresses: [
    { type: 'home', locality: 'canary-home', countryCode: 'GB' },
    { type: 'work', locality: 'London', region: 'England', countryCode: 'GB', streetAddress: '1 St James' },
  ],
  phones: [
    { value: '+44 20 7946 0001', type: 'work' },
    { value: 'canary-phone', type: 'home' },
  ],
  locations: [{ type: 'desk', buildingId: 'LON-1', floorName: '3', floorSection: 'A' }],
  orgUnitPath: '/Research',
  isEnrolledIn2Sv: true,
  isEnforcedIn2Sv: true,
  isMailboxSetup: true,
  includeInGlobalAddressList: true,
  customerId: 'C01abc2de',
}

test('a user in the words of the model', () => {
  const identity = identityOf(ada)
  assert.deepEqual(identity?.attributes, {
    uid: '114511147312345678901',
    name: 'Ada.Lovelace@Example.com',
    email_addr: 'ada.lovelace@example.com',
    email_addrs: [
      'ada.lovelace@example.com',
      'ada.lovelace@example.com.test-google-a.com',
      'al@example.com',
      'countess@example.net',
    ],
    full_name: 'Ada Lovelace',
    given_name: 'Ada',
    surname: 'Lovelace',
    type: 'Admin',
    status: 'active',
    job_title: 'Programmer',
    department: 'Research',
    cost_center: '42',
    company: 'Analytical Engines',
    manager: { email_addr: 'charles.babbage@example.com' },
    employee_uid: '1815',
    employee_type: 'Contractor',
    office_location: 'London 3',
    location: { city: 'London', region: 'England', country: 'GB' },
    org_unit: '/Research',
    phone_number: '+44 20 7946 0001',
    has_mfa: true,
    is_privileged: true,
    created_time: '2017-01-09T12:00:00.000Z',
  })
  assert.deepEqual(identity.activity, { last_login_time: '2026-11-20T08:00:00.000Z' })
  assert.partialDeepStrictEqual(identity.raw, {
    isDelegatedAdmin: true,
    isEnforcedIn2Sv: true,
    customerId: 'C01abc2de',
  })
  assert.doesNotMatch(JSON.stringify(identity), /canary/)
})

test('what changes by itself, and the order in which Google happens to tell things, changes no content', () => {
  const later = {
    ...Object.fromEntries(Object.entries(ada).reverse()),
    etag: '"other"',
    lastLoginTime: '2026-11-24T08:00:00.000Z',
    emails: [...ada.emails].reverse(),
    externalIds: [...ada.externalIds].reverse(),
  }
  const [one, other] = [identityOf(ada), identityOf(later)]
  assert.equal(JSON.stringify(other?.attributes), JSON.stringify(one?.attributes))
  assert.equal(JSON.stringify(other?.raw), JSON.stringify(one?.raw))
  assert.notDeepEqual(other?.activity, one?.activity)
})

test('each state of an account', () => {
  const of = (more: object) => {
    const { status, status_detail } = identityOf({ ...ada, ...more })?.attributes ?? {}
    return [status, status_detail]
  }
  assert.deepEqual(of({ suspended: true, suspensionReason: 'ABUSE' }), ['suspended', 'ABUSE'])
  assert.deepEqual(of({ suspended: true, archived: true, suspensionReason: 'ADMIN' }), [
    'deactivated',
    'ARCHIVED',
  ])
  assert.deepEqual(of({ agreedToTerms: false }), ['inactive', undefined])
  assert.deepEqual(of({ agreedToTerms: undefined }), ['active', undefined])
})

test('a sign-in in the first second of 1970 is none, and a guest is a guest', () => {
  const identity = identityOf({
    id: '1',
    primaryEmail: 'guest@example.com',
    isGuestUser: true,
    lastLoginTime: '1970-01-01T00:00:00.000Z',
  })
  assert.deepEqual(identity, {
    kind: 'identity',
    attributes: {
      uid: '1',
      name: 'guest@example.com',
      email_addr: 'guest@example.com',
      email_addrs: ['guest@example.com'],
      type: 'Guest',
      status: 'active',
    },
  })
})

test('a group in the words of the model, with its number of members as what tells that they may have changed', () => {
  const group = {
    kind: 'admin#directory#group',
    id: '03abc',
    etag: '"e"',
    email: 'Engines@example.com',
    name: 'Engines',
    directMembersCount: '17',
    description: 'Everybody\nwho builds',
    adminCreated: true,
    aliases: ['machines@example.com'],
  }
  assert.deepEqual(groupOf(group), {
    kind: 'group',
    attributes: {
      uid: '03abc',
      name: 'Engines',
      email_addr: 'engines@example.com',
      email_addrs: ['engines@example.com', 'machines@example.com'],
      desc: 'Everybody who builds',
    },
    raw: { adminCreated: true },
    memberCount: 17,
    membersTag: '17',
  })
  assert.equal(groupOf({ id: '03abc', directMembersCount: 'many' })?.membersTag, undefined)
})

test('devices in the words of the model', () => {
  const chrome = chromeDeviceOf({
    deviceId: '0b1c',
    serialNumber: 'SN1',
    status: 'DEPROVISIONED',
    annotatedUser: 'Ada@example.com',
    model: 'HP Chromebook 14',
    macAddress: 'A1B2C3D4E5F6',
    meid: '490154203237518',
    osVersion: '140.0',
    osVersionCompliance: 'NOT_COMPLIANT',
    bootMode: 'Verified',
    lastSync: '2026-11-20T08:00:00Z',
  })
  assert.deepEqual(chrome, {
    kind: 'device',
    attributes: {
      uid: '0b1c',
      name: 'SN1',
      type: 'Laptop',
      os: { name: 'ChromeOS', version: '140.0' },
      model: 'HP Chromebook 14',
      hw_info: { serial_number: 'SN1' },
      imei: '490154203237518',
      mac: 'a1:b2:c3:d4:e5:f6',
      status: 'DEPROVISIONED',
      is_managed: false,
      is_compliant: false,
      owner: { email_addr: 'ada@example.com' },
    },
    raw: { bootMode: 'Verified', osVersionCompliance: 'NOT_COMPLIANT' },
    activity: { last_seen_time: '2026-11-20T08:00:00.000Z' },
  })
  const mobile = mobileDeviceOf({
    resourceId: 'AFiQx',
    deviceId: 'd1',
    name: ['Ada Lovelace'],
    email: ['ada@example.com'],
    model: 'iPad Pro',
    os: 'iOS 26.1',
    status: 'APPROVED',
    deviceCompromisedStatus: 'Compromised',
  })
  assert.partialDeepStrictEqual(mobile?.attributes, {
    uid: 'AFiQx',
    uid_alt: 'd1',
    type: 'Tablet',
    os: { name: 'iOS', version: '26.1' },
    is_managed: true,
    is_compliant: false,
    owner: { name: 'Ada Lovelace', email_addr: 'ada@example.com' },
  })
})

test('an id that would have to be changed to be kept is none', () => {
  for (const id of [undefined, null, '', 7, {}, 'a b', 'a\u0000', 'ключ', 'x'.repeat(257)]) {
    assert.equal(identityOf({ ...ada, id }), undefined)
    assert.equal(groupOf({ id }), undefined)
    assert.equal(chromeDeviceOf({ deviceId: id }), undefined)
    assert.equal(mobileDeviceOf({ resourceId: id }), undefined)
  }
  assert.equal(identityOf({ ...ada, id: '__proto__' })?.attributes.uid, '__proto__')
})

test('whatever the members of a record are, it is read without an exception and into text that can be kept', () => {
  const members = Object.fromEntries(
    [...Object.keys(ada), 'deviceId', 'resourceId', 'email', 'os', 'model', 'macAddress', 'lastSync'].map(
      (name) => [
        name,
        fc.oneof(
          fc.jsonValue(),
          fc.string({ unit: 'binary' }),
          fc.array(fc.dictionary(fc.string(), fc.jsonValue())),
        ),
      ],
    ),
  )
  fc.assert(
    fc.property(fc.record(members, { requiredKeys: [] }), (record) => {
      for (const entityOf of [identityOf, groupOf, chromeDeviceOf, mobileDeviceOf]) {
        const entity = entityOf({ ...record, id: '1', primaryEmail: 'a@b.c', deviceId: '1', resourceId: '1' })
        assert.ok(entity !== undefined)
        const text = JSON.stringify(entity)
        assert.ok(text.isWellFormed() && !/\\u(?:0000|d[89a-f])/.test(text))
        assert.deepEqual(
          entityOf({ ...record, id: '1', primaryEmail: 'a@b.c', deviceId: '1', resourceId: '1' }),
          entity,
        )
      }
    }),
    { numRuns: 300 },
  )
})
