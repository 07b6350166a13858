/** Which texts pass for secrets, and what is kept of what a request holds. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createSources, sourceByName } from '../sources/registry.ts'
import { knownSecrets, maskedSecrets, packSecrets, unpackSecrets } from './secrets.ts'

const source = (name: string) => {
  const found = sourceByName(createSources(), name)
  assert.ok(found)
  return found
}

test('masks and empty texts are no secrets, wherever they stand', () => {
  const fields = (name: string, secrets: object) =>
    maskedSecrets(source(name), { ...secrets }).map(({ field }) => field)
  for (const mask of [
    '',
    '  ',
    '*',
    '********',
    '****abcd',
    '••••••••',
    'ab••••',
    '●●●',
    'xxxxxxxx',
    '...',
    '---',
    '[redacted]',
    '<hidden>',
    'REDACTED',
  ])
    assert.deepEqual(fields('okta', { api_token: mask }), ['secrets.api_token'], mask)
  assert.deepEqual(fields('google-workspace', { service_account_json: { private_key: '***' } }), [
    'secrets.service_account_json',
  ])
  for (const secret of ['00aBc-d_e', 'x1', 'Ab~8Q~*x', '-----BEGIN PRIVATE KEY-----\nMIIE\n', 'redacted-not'])
    assert.deepEqual(fields('okta', { api_token: secret }), [], secret)
  // What is no secret is judged by the source alone.
  assert.deepEqual(fields('okta', { client_id: '***', key_id: '' }), [])
  assert.deepEqual(
    fields('google-workspace', { service_account_json: { private_key: 'key', client_id: '', n: 5 } }),
    [],
  )
})

test('only what the source reads is kept', () => {
  assert.deepEqual(knownSecrets(source('okta'), { api_token: 'x', other: 'y', constructor: 'z' }), {
    api_token: 'x',
  })
  assert.deepEqual(knownSecrets(source('okta'), undefined), {})
})

test('what goes into the vault comes out as it was', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (secrets) => {
      const plain = JSON.parse(JSON.stringify(secrets))
      assert.deepEqual(unpackSecrets(packSecrets(plain)), plain)
    }),
  )
})
