import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readCredentials, secretsIn, tokenLooksLike, tokenProblem } from './secrets.ts'

test('reads an API token and ignores members it does not know', () => {
  assert.deepEqual(readCredentials({ api_token: '00abc', admin_email: 'x', extra: 1 }), {
    ok: true,
    credentials: { kind: 'api_token', apiToken: '00abc' },
  })
})

test('reads a service app with and without a key ID', () => {
  assert.deepEqual(readCredentials({ client_id: '0oa1', private_key: 'pem' }), {
    ok: true,
    credentials: { kind: 'service_app', clientId: '0oa1', privateKey: 'pem', keyId: undefined },
  })
  const reading = readCredentials({ client_id: '0oa1', private_key: { kty: 'RSA' }, key_id: 'k' })
  assert.ok(reading.ok && reading.credentials.kind === 'service_app')
  assert.equal(reading.credentials.keyId, 'k')
})

test('names every field of the wrong type at once, without its value', () => {
  const reading = readCredentials({ api_token: 1, client_id: [], private_key: 2, key_id: {} })
  assert.ok(!reading.ok)
  assert.deepEqual(
    reading.faults.map(({ field }) => field),
    ['secrets.api_token', 'secrets.client_id', 'secrets.private_key', 'secrets.key_id'],
  )
})

test('refuses absent, incomplete and contradictory credentials', () => {
  const fields = (secrets?: Record<string, unknown>) => {
    const reading = readCredentials(secrets)
    return reading.ok ? [] : reading.faults.map(({ field }) => field)
  }
  assert.deepEqual(fields(undefined), ['secrets'])
  assert.deepEqual(fields({}), ['secrets'])
  assert.deepEqual(fields({ api_token: '00', client_id: '0oa' }), ['secrets'])
  assert.deepEqual(fields({ client_id: '0oa' }), ['secrets.private_key'])
  assert.deepEqual(fields({ client_id: '0oa', client_secret: 's' }), ['secrets.private_key'])
  assert.deepEqual(fields({ private_key: 'pem' }), ['secrets.client_id'])
  assert.deepEqual(fields({ api_token: null }), ['secrets.api_token'])
})

test('says what is wrong with a token that was pasted with something around it', () => {
  for (const token of [
    'SSWS 00abc',
    'ssws  00abc',
    'Bearer 00abc',
    '"00abc"',
    ' 00abc',
    '00abc\n',
    '00 abc',
    '00äbc',
    '',
    '0'.repeat(2000),
  ])
    assert.notEqual(tokenProblem(token), undefined, JSON.stringify(token.slice(0, 20)))
  for (const token of ['00QCjAl4MlV-WPXM_0HmjFxvbGua00QCjAl4MlVWPX', 'x', 'test-token.1~'])
    assert.equal(tokenProblem(token), undefined, token)
})

test('hides the token also as it should have been given', () => {
  assert.deepEqual(secretsIn({ kind: 'api_token', apiToken: 'SSWS 00secret' }), ['SSWS 00secret', '00secret'])
})

test('recognises what is often taken for a token', () => {
  assert.match(tokenLooksLike('00Tabcdefg1234567890') ?? '', /ID/)
  assert.match(tokenLooksLike('0oa1b2c3d4e5f6g7h8i9') ?? '', /client ID/)
  assert.match(tokenLooksLike('eyJhbGciOiJub25lIn0.e30.') ?? '', /access token/)
  assert.equal(tokenLooksLike('00QCjAl4MlV-WPXM_0HmjFxvbGua00QCjAl4MlVWPX'), undefined)
})
