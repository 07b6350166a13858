import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { EndpointsError, loopbackAddresses, readEndpoints } from './endpoints.ts'
import { isHostName } from './host-name.ts'
import { isLoopbackAddress } from './public-address.ts'

const reading = (host: string, origin: unknown) => () => readEndpoints(JSON.stringify({ [host]: origin }))

suite('endpoints', () => {
  test('are provider hosts and the loopback origins that stand in for them', () => {
    const endpoints = readEndpoints(
      '{"oauth2.googleapis.com":"http://127.0.0.1:7001","acme.okta.com":"https://[::1]:7002/","a.b":"https://localhost"}',
    )
    assert.deepEqual(
      [...endpoints].map(([host, origin]) => [host, origin.origin]),
      [
        ['oauth2.googleapis.com', 'http://127.0.0.1:7001'],
        ['acme.okta.com', 'https://[::1]:7002'],
        ['a.b', 'https://localhost'],
      ],
    )
  })

  test('may be none', () => assert.equal(readEndpoints('{}').size, 0))

  const notLoopback = [
    'http://10.0.0.1:80',
    'http://0.0.0.0:80',
    'http://169.254.169.254',
    'http://example.com',
    'http://127.0.0.1.nip.io',
    'http://localhost.evil.tld',
    'http://128.0.0.1',
    'http://[::]:80',
    'http://[::ffff:127.0.0.1]:80',
    'http://[fe80::1]:80',
    'http://127.1:80',
    'http://2130706433:80',
    'http://0x7f.1:80',
    'http://0177.0.0.1:80',
  ]
  for (const origin of notLoopback)
    test(`refuse ${origin}, which is not loopback`, () =>
      assert.throws(reading('acme.okta.com', origin), {
        name: 'EndpointsError',
        message: /is not a loopback address/,
      }))

  const notOrigins = [
    'http://127.0.0.1:80/path',
    'http://127.0.0.1?q',
    'http://127.0.0.1#f',
    'http://user@127.0.0.1',
    'http://user:secret@127.0.0.1',
    'http://127.0.0.1\\@evil.tld',
    'ftp://127.0.0.1',
    'file:///etc/passwd',
    '127.0.0.1:80',
    'http://127.0.0.1:99999',
    ' http://127.0.0.1',
    'http://127.0.0.1\n',
    'http:127.0.0.1',
    '',
    7001,
    null,
    { url: 'http://127.0.0.1' },
  ]
  for (const origin of notOrigins)
    test(`refuse ${JSON.stringify(origin)}, which is not an origin alone`, () =>
      assert.throws(reading('acme.okta.com', origin), {
        name: 'EndpointsError',
        message: /is not an origin/,
      }))

  for (const host of [
    'ACME.okta.com',
    'acme.okta.com:443',
    'https://acme.okta.com',
    'okta',
    '*.okta.com',
    '127.0.0.1',
    '__proto__',
    '',
  ])
    test(`refuse ${JSON.stringify(host)}, which is not a host name`, () =>
      assert.throws(() => readEndpoints(`{${JSON.stringify(host)}:"http://127.0.0.1:1"}`), {
        name: 'EndpointsError',
        message: /is not a host name/,
      }))

  for (const text of ['', '[]', 'null', '"x"', '{', '{"a.b":"http://127.0.0.1:1"} x'])
    test(`refuse ${JSON.stringify(text)}, which is not a JSON object`, () =>
      assert.throws(() => readEndpoints(text), {
        name: 'EndpointsError',
        message: /not (?:JSON|a JSON object)/,
      }))

  test('do not repeat a refused value, which may hold a password', () => {
    assert.throws(reading('acme.okta.com', 'http://admin:hunter2@127.0.0.1'), (error: Error) => {
      assert.doesNotMatch(error.message, /hunter2/)
      return true
    })
  })

  test('whatever is read leads to loopback alone, and everything else is an EndpointsError', () => {
    const hosts = fc.oneof(fc.domain(), fc.string(), fc.constantFrom('acme.okta.com', '__proto__'))
    const authorities = fc.oneof(
      fc.ipV4(),
      fc.ipV4Extended(),
      fc.ipV6().map((address) => `[${address}]`),
      fc.constantFrom('localhost', '127.0.0.1', '[::1]', '127.8.9.1'),
      fc.domain(),
    )
    const origins = fc.oneof(
      fc
        .tuple(
          fc.constantFrom('http', 'https', 'ftp'),
          authorities,
          fc.option(fc.nat(70_000)),
          fc.constantFrom('', '/', '/x'),
        )
        .map(([scheme, host, port, end]) => `${scheme}://${host}${port === null ? '' : `:${port}`}${end}`),
      fc.webUrl(),
      fc.anything(),
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.dictionary(hosts, origins).map((map) => JSON.stringify(map) ?? ''),
          fc.json(),
          fc.string(),
        ),
        (text) => {
          let endpoints: Map<string, URL>
          try {
            endpoints = readEndpoints(text)
          } catch (error) {
            assert.ok(error instanceof EndpointsError, String(error))
            return
          }
          for (const [host, origin] of endpoints) {
            assert.ok(isHostName(host))
            assert.match(origin.protocol, /^https?:$/)
            assert.equal(origin.href, `${origin.origin}/`)
            assert.ok(loopbackAddresses(origin).every(isLoopbackAddress))
          }
        },
      ),
      { numRuns: 1000 },
    )
  })
})
