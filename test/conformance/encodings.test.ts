/** Datadog's client compresses what it sends, and offers to take compressed answers. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { type ClientOptions, datadogClient, refusalOf, validate } from './datadog-client.ts'
import { type ConformanceServer, startConformanceServer } from './server.ts'

let server: ConformanceServer<'reader'>
before(async () => {
  server = await startConformanceServer({ keyPairs: { reader: ['integrations_read'] } })
})
after(() => server.close())

const validateWith = async (options: Omit<ClientOptions, 'origin' | 'keys'>, apiToken?: string) => {
  const { okta } = server.organisation
  const client = datadogClient({ origin: server.origin, keys: server.keyPairs.reader, ...options })
  await validate(client, {
    domain: okta.domain,
    integrationType: 'OKTA',
    secrets: { apiToken: apiToken ?? okta.apiToken },
  })
}
const zstdCompressor = (body: string) => zstdCompressSync(body)

describe('bodies the client compresses are read', () => {
  test('gzip', () => validateWith({ contentEncoding: 'gzip' }))
  test('deflate', () => validateWith({ contentEncoding: 'deflate' }))
  test('zstd1', () => validateWith({ contentEncoding: 'zstd1', zstdCompressor }))
})

test('a body that is not in the coding it names is a typed 400', async () => {
  const { code, errors } = await refusalOf(
    validateWith({ contentEncoding: 'zstd1', zstdCompressor: (body) => gzipSync(body) }),
  )
  assert.equal(code, 400)
  assert.match(errors[0] ?? '', /Content-Encoding/)
})

test('a small body that grows beyond the limit when it is decompressed is refused', async () => {
  const { code, text } = await refusalOf(validateWith({ contentEncoding: 'gzip' }, 'x'.repeat(1_000_000)))
  assert.equal(code, 413)
  assert.match(text, /Body too large/)
})

describe('whatever answer the client offers to take, it can read it', () => {
  const offers: readonly Pick<ClientOptions, 'compress' | 'acceptEncoding'>[] = [
    { compress: true },
    { compress: false },
    { acceptEncoding: 'zstd1' },
    { acceptEncoding: 'zstd1,gzip,deflate' },
  ]
  for (const offer of offers) {
    test(JSON.stringify(offer), async () => {
      await validateWith(offer)
      const { code, errors } = await refusalOf(validateWith(offer, 'malformed token'))
      assert.equal(code, 400)
      assert.ok(errors.length > 0)
    })
  }
})
