import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { deviceOf, groupOf, identityOf, signInActivityOf } from './normalise.ts'

const id = '11111111-2222-4333-8444-555555555555'
const user = { id, userPrincipalName: 'Ada@acme.com', accountEnabled: true }

const identity = (more: object = {}) => {
  const read = identityOf({ ...user, ...more })
  assert.ok('entity' in read)
  return read.entity
}

test('a user has every address once, in lower case, and none that is no e-mail address', () => {
  const { attributes } = identity({
    mail: 'Ada.L@acme.com',
    otherMails: ['ada@home.example', 'ADA@HOME.example'],
    proxyAddresses: [
      'SMTP:Ada.L@acme.com',
      'smtp:ada@acme.onmicrosoft.com',
      'SIP:ada@acme.com',
      'x500:/o=acme',
    ],
  })
  assert.equal(attributes.email_addr, 'Ada.L@acme.com')
  assert.deepEqual(attributes.email_addrs, ['ada.l@acme.com', 'ada@acme.onmicrosoft.com', 'ada@home.example'])
})

test('a status is what the directory says, and never guessed', () => {
  assert.equal(identity().attributes.status, 'active')
  assert.equal(identity({ accountEnabled: false }).attributes.status, 'suspended')
  assert.equal(identity({ externalUserState: 'Accepted' }).attributes.status, 'active')
  assert.equal(identity({ externalUserState: 'PendingAcceptance' }).attributes.status, 'inactive')
  assert.deepEqual(identityOf({ ...user, accountEnabled: undefined }), {
    reason: 'accountEnabled is missing',
  })
})

test('who is neither enabled nor blocked is kept, and the status says that it is unknown', () => {
  const status = (more: object) => {
    const { attributes } = identity({ accountEnabled: null, ...more })
    return [attributes.status, attributes.status_detail]
  }
  assert.deepEqual(status({}), ['active', 'accountEnabled unknown'])
  assert.deepEqual(status({ externalUserState: 'PendingAcceptance' }), [
    'inactive',
    'PendingAcceptance, accountEnabled unknown',
  ])
})

test('a group without a name is named by its address or id, and one whose name is not told is not read', () => {
  const name = (more: object) => {
    const read = groupOf({ id, ...more })
    return 'entity' in read ? read.entity.attributes.name : read.reason
  }
  assert.equal(name({ displayName: null, mail: 'Team@acme.com' }), 'Team@acme.com')
  assert.equal(name({ displayName: null }), id)
  assert.equal(name({ displayName: ' ' }), id)
  assert.equal(name({ mail: 'Team@acme.com' }), 'displayName is missing')
  assert.equal(name({ displayName: 7 }), 'displayName is missing')
})

test('what is absent, empty or of the wrong type is left out', () => {
  const empty = Object.fromEntries(
    [
      'mail',
      'displayName',
      'jobTitle',
      'manager',
      'employeeOrgData',
      'city',
      'createdDateTime',
      'businessPhones',
    ].map((name, index) => [name, [null, '', '   ', 7, [], {}][index % 6]]),
  )
  assert.deepEqual(identity(empty).attributes, { uid: id, name: 'Ada@acme.com', status: 'active' })
})

test("Graph's times for never are no times, and fractions are left out", () => {
  const at = (createdDateTime: unknown) => identity({ createdDateTime }).attributes.created_time
  assert.equal(at('2024-02-29T23:59:59.9999999Z'), '2024-02-29T23:59:59Z')
  for (const never of [
    '0001-01-01T00:00:00Z',
    '9999-12-31T23:59:59.9999999Z',
    '2024-13-01T00:00:00Z',
    'x',
    5,
    null,
  ])
    assert.equal(at(never), undefined)
})

test('the manager is known by id alone, so that a new name of theirs changes nobody else', () => {
  const manager = { id: id.toUpperCase(), displayName: 'Charles', '@odata.type': '#microsoft.graph.user' }
  assert.deepEqual(identity({ manager }).attributes.manager, { uid: id })
})

test('the last sign-in is the last successful one, where Microsoft tells it', () => {
  const at = (signInActivity: unknown) => signInActivityOf({ signInActivity })
  const times = {
    lastSignInDateTime: '2026-11-02T00:00:00Z',
    lastNonInteractiveSignInDateTime: '2026-11-03T00:00:00Z',
    lastSuccessfulSignInDateTime: '2026-11-01T00:00:00Z',
  }
  assert.deepEqual(at(times), { last_login_time: '2026-11-01T00:00:00Z' })
  assert.deepEqual(at({ ...times, lastSuccessfulSignInDateTime: null }), {
    last_login_time: '2026-11-02T00:00:00Z',
  })
  assert.equal(at({ lastSignInDateTime: '0001-01-01T00:00:00Z' }), undefined)
  assert.equal(at(null), undefined)
})

test('a group has the type that its properties make', () => {
  const type = (more: object) => {
    const read = groupOf({ id, displayName: 'Group', ...more })
    return 'entity' in read ? read.entity.attributes.type : assert.fail()
  }
  assert.equal(type({ groupTypes: ['Unified', 'DynamicMembership'], mailEnabled: true }), 'Unified')
  assert.equal(type({ groupTypes: [], mailEnabled: true, securityEnabled: true }), 'mail-enabled security')
  assert.equal(type({ groupTypes: [], mailEnabled: true, securityEnabled: false }), 'distribution')
  assert.equal(type({ groupTypes: [], mailEnabled: false, securityEnabled: true }), 'security')
  assert.equal(type({}), undefined)
})

test("a computer's name is its host name, a telephone's is not; when it was seen is no content", () => {
  const device = (more: object) => {
    const read = deviceOf({ id, ...more })
    return 'entity' in read ? read.entity : assert.fail()
  }
  assert.equal(device({ displayName: 'WIN-0001' }).attributes.hostname, 'win-0001')
  assert.equal(device({ displayName: "Ada's iPhone" }).attributes.hostname, undefined)
  assert.equal(device({ trustType: 'Workplace' }).attributes.is_personal, true)
  const seen = device({ approximateLastSignInDateTime: '2026-11-01T00:00:00Z' })
  assert.deepEqual(seen.activity, { last_seen_time: '2026-11-01T00:00:00Z' })
  assert.deepEqual([seen.attributes, seen.raw], [{ uid: id }, undefined])
})

test('the same document in another order is the same text', () => {
  const document = {
    ...user,
    displayName: 'Ada',
    otherMails: ['b@x.example', 'a@x.example'],
    usageLocation: 'GB',
    preferredLanguage: 'en-GB',
  }
  const turned = Object.fromEntries(Object.entries(document).reverse())
  const text = (record: object) => JSON.stringify(identityOf({ ...record }))
  assert.equal(text({ ...turned, otherMails: ['a@x.example', 'b@x.example'] }), text(document))
})

test('whatever a document holds, it is read or refused with a reason, and stays small', () => {
  const names = [
    'id',
    'userPrincipalName',
    'accountEnabled',
    'mail',
    'proxyAddresses',
    'manager',
    'displayName',
  ]
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom(...names, '__proto__', 'constructor', 'deviceId'), fc.jsonValue()),
      fc.boolean(),
      (document, isSound) => {
        for (const read of [identityOf, groupOf, deviceOf].map((normalise) =>
          normalise(isSound ? { ...document, ...user } : document),
        )) {
          if (!('entity' in read)) assert.equal(typeof read.reason, 'string')
          else assert.ok(Buffer.byteLength(JSON.stringify(read.entity)) < 64 * 1024)
        }
      },
    ),
  )
})
