import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { addedFields, fold, keysOf, labelOf, roleTerms, termPrefix, termsOf } from './terms.ts'

const ada = {
  kind: 'identity',
  attributes: {
    uid: '00u1aB',
    uid_alt: 'S-1-5-21',
    name: 'Ada.Lovelace@Acme.com',
    email_addr: 'Ada.Lovelace@Acme.com',
    email_addrs: ['ada.lovelace@acme.com', 'countess@acme.com'],
    full_name: 'Ada  LOVELACE',
    status: 'active',
    job_title: 'Chief Analyst',
    department: 'Engines',
    manager: { name: 'Charles Babbage', uid: '00u2' },
    has_mfa: true,
    is_privileged: true,
  },
  activity: { last_login_ip: '203.0.113.7' },
} as const

test('an identity is found by every name it has, and by the words of its title, department and manager', () => {
  const terms = termsOf(ada, 'okta')
  for (const term of [
    'source:okta',
    'id:00u1ab',
    'id:s-1-5-21',
    'user:ada.lovelace@acme.com',
    'user:ada.lovelace',
    'email:ada.lovelace@acme.com',
    'email:countess@acme.com',
    'name:ada',
    'name:lovelace',
    'title:chief',
    'title:analyst',
    'department:engines',
    'manager:babbage',
    'status:active',
    'type:user',
  ])
    assert.ok(terms.includes(term), term)
})

test('what depends on facts, groups and activity is left to whoever knows them', () => {
  const fields = termsOf(ada, 'okta').map((term) => term.split(':')[0] ?? '')
  assert.deepEqual(
    fields.filter((field) => addedFields.some((added) => added === field)),
    [],
  )
})

test('a device is found by its serial number and host name, exactly and as a term', () => {
  const device = {
    kind: 'device',
    attributes: { uid: 'd1', hostname: 'ENGINE-01', hw_info: { serial_number: 'SN 42' }, type: 'Laptop' },
  } as const
  assert.deepEqual(keysOf(device), ['d1', 'engine-01', 'sn 42'])
  const terms = termsOf(device, 'okta')
  for (const term of ['name:engine-01', 'id:sn 42', 'type:laptop']) assert.ok(terms.includes(term), term)
})

test('keys are the exact names, each once', () => {
  assert.deepEqual(keysOf(ada), ['00u1ab', 'ada.lovelace@acme.com', 'countess@acme.com', 's-1-5-21'])
})

test('people read the user name, the name of the group or device, or else the id', () => {
  assert.equal(labelOf(ada), 'Ada.Lovelace@Acme.com')
  assert.equal(labelOf({ kind: 'group', attributes: { uid: 'g1', name: '' } }), 'g1')
  assert.equal(labelOf({ kind: 'device', attributes: { uid: 'd1', hostname: 'engine' } }), 'engine')
})

test('a role is found as a whole and by its words', () => {
  assert.deepEqual(roleTerms('Super Admin'), ['role:super admin', 'role:super', 'role:admin'])
  assert.deepEqual(roleTerms('  '), [])
})

test('values are compared without regard to case, width and white space, with regard to accents', () => {
  assert.equal(fold('  Ｈé\t llo\n'), 'hé llo')
  assert.notEqual(fold('é'), fold('e'))
})

test('whatever a provider sends, terms and keys are short, few, whole and without NUL', () => {
  const text = fc.string({ unit: 'binary', maxLength: 500 })
  fc.assert(
    fc.property(text, text, fc.array(text, { maxLength: 300 }), (uid, name, email_addrs) => {
      const entity = {
        kind: 'identity',
        attributes: { uid, name, full_name: name, status: 'active', email_addrs },
      } as const
      const terms = termsOf(entity, 'okta')
      const keys = keysOf(entity)
      assert.ok(terms.length <= 200 && keys.length <= 100)
      for (const value of [...terms, ...keys])
        assert.ok(value.length <= 220 && value.isWellFormed() && !value.includes('\0'), JSON.stringify(value))
      assert.equal(fold(fold(name)), fold(name))
    }),
    { numRuns: 50 },
  )
})

test("an organisation's terms stand apart from others'", () => {
  assert.equal(termPrefix('0a1b2c3d-0000-4000-8000-000000000000'), '0a1b2c3d:')
})

test('words of ASCII are compared as they stand, but for their case', () => {
  fc.assert(
    fc.property(fc.array(fc.stringMatching(/^[!-~]{1,9}$/), { minLength: 1, maxLength: 15 }), (words) => {
      const text = words.join(' ')
      assert.equal(fold(text), text.toLowerCase())
      assert.equal(fold(` ${words.join('\t\n')} `), fold(text))
    }),
  )
})
