import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createGoogleSandbox, type GoogleSandbox } from '../../sandbox/google/index.ts'
import { type RunningSandbox, startSandbox } from '../../sandbox/index.ts'
import { callGoogle, type Given } from './google-process.ts'

const scopes = [
  'user',
  'group',
  'group.member',
  'customer',
  'domain',
  'rolemanagement',
  'device.chromeos',
  'device.mobile',
].map((name) => `https://www.googleapis.com/auth/admin.directory.${name}.readonly`)

let google: GoogleSandbox
let running: RunningSandbox
before(async () => {
  google = await createGoogleSandbox({ users: 100, groups: 12, devices: 60, seed: 'sdk' })
  running = await startSandbox({ providers: [google] })
})
after(() => running.close())

const sdk = (calls: readonly string[], given: Omit<Given, 'scopes'> = {}) =>
  callGoogle(google, running, calls, { ...given, scopes })

test("Google's libraries take a token, list and page users, and read everything else", async () => {
  const results = await sdk(['token', 'fromJson', 'users', 'user', 'groups', 'devices', 'organisation'])
  assert.deepEqual(results.token?.ok, { has_token: true, token_type: 'Bearer' })
  assert.deepEqual(results.fromJson?.ok, {
    email: google.keyFiles.good.client_email,
    keyId: google.keyFiles.good.private_key_id,
  })
  const pages = results.users?.ok as { kind: string; emails: string[]; goesOn: boolean }[]
  assert.deepEqual(
    pages.map(({ kind, emails, goesOn }) => [kind, emails.length, goesOn]),
    [
      ['admin#directory#users', 40, true],
      ['admin#directory#users', 40, true],
    ],
  )
  const emails = pages.flatMap((page) => page.emails)
  assert.equal(new Set(emails).size, 80)
  assert.deepEqual(emails, [...emails].sort())
  assert.partialDeepStrictEqual(results.user?.ok, { email: 'test@example.com', isAdmin: true })
  assert.deepEqual(results.groups?.ok, {
    groups: 12,
    members: 'email id',
    first: ['OWNER', 'MEMBER', 'MEMBER'],
  })
  assert.deepEqual(results.devices?.ok, [5, 5])
  assert.deepEqual(results.organisation?.ok, {
    primary: 'example.com',
    domains: ['example.com', 'siem-test.com', 'example.org'],
    roles: 3,
  })
})

test("Google's libraries report failures of the API with Google's reason", async () => {
  const { missingUser, foreignDomain } = await sdk(['missingUser', 'foreignDomain'])
  assert.equal(missingUser?.status, 404)
  assert.equal(missingUser.message, 'Resource Not Found: userKey')
  assert.partialDeepStrictEqual(missingUser.data, { error: { code: 404, errors: [{ reason: 'notFound' }] } })
  assert.equal(foreignDomain?.status, 404)
  assert.equal(foreignDomain.message, 'Domain not found')
})

test("Google's libraries report refused tokens with Google's code", async () => {
  const cases = [
    [{ keyFile: 'deletedKey' }, 400, 'invalid_grant'],
    [{ keyFile: 'notDelegated' }, 401, 'unauthorized_client'],
    [{ keyFile: 'withoutGroups' }, 403, 'access_denied'],
    [{ subject: google.admins.unknown }, 400, 'invalid_grant'],
  ] as const
  await Promise.all(
    cases.map(async ([given, status, code]) => {
      const { token } = await sdk(['token'], given)
      assert.equal(token?.status, status)
      assert.equal(token.data?.error, code)
      assert.ok(token.message?.startsWith(`${code}: `))
    }),
  )
})

test("Google's libraries say that the API is off, and who may not read", async () => {
  const [off, helpDesk] = await Promise.all([
    sdk(['user'], { keyFile: 'apiDisabled' }),
    sdk(['user', 'groups'], { subject: google.admins.helpDesk }),
  ])
  assert.equal(off.user?.status, 403)
  assert.partialDeepStrictEqual(off.user.data, { error: { details: [{ reason: 'SERVICE_DISABLED' }] } })
  assert.ok(helpDesk.user?.ok)
  assert.equal(helpDesk.groups?.status, 403)
  assert.equal(helpDesk.groups.message, 'Not Authorized to access this resource/api')
})
