import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { suite, type TestContext, test } from 'node:test'
import type { TLSSocket, TlsOptions } from 'node:tls'
import { inspect } from 'node:util'
import { createOutbound } from '../src/outbound/outbound.ts'
import { SourceError } from '../src/outbound/source-error.ts'
import {
  answer,
  clientOf,
  get,
  host,
  makeAuthority,
  makeCertificate,
  startStandIn,
} from './outbound-stand-in.ts'

const authority = makeAuthority()

async function facing(
  t: TestContext,
  secure: TlsOptions,
  trusted: readonly string[] = [authority.certificate],
) {
  const names: (string | false | null)[] = []
  const protocols: (string | false | null)[] = []
  const standIn = await startStandIn((socket) => {
    names.push((socket as TLSSocket & { servername?: string | false }).servername ?? null)
    protocols.push((socket as TLSSocket).alpnProtocol)
    socket.write(answer('{}'))
  }, secure)
  const http = clientOf(standIn, { endpointAuthorities: trusted })
  t.after(async () => {
    await http.close()
    await standIn.close()
  })
  return { http, standIn, names, protocols }
}

const failsWith = (network: string | RegExp) => (error: unknown) => {
  assert.ok(error instanceof SourceError, inspect(error))
  assert.equal(error.code, 'tls_failed')
  assert.match(
    String(error.hints.network),
    typeof network === 'string' ? new RegExp(`^${network}$`) : network,
  )
  return true
}

suite('over TLS', () => {
  test("the provider's name is asked for and in the certificate, though the address is loopback", async (t) => {
    const { http, names } = await facing(t, makeCertificate([host], authority))
    assert.equal((await http.request(get())).status, 200)
    assert.deepEqual(names, [host])
  })

  test('HTTP/2 is not spoken, even where it is offered', async (t) => {
    const { http, protocols } = await facing(t, {
      ...makeCertificate([host], authority),
      ALPNProtocols: ['h2', 'http/1.1'],
    })
    assert.equal((await http.request(get())).status, 200)
    assert.deepEqual(protocols, ['http/1.1'])
  })

  test('a wildcard certificate covers its one label', async (t) => {
    const { http } = await facing(t, makeCertificate(['*.okta.com'], authority))
    assert.equal((await http.request(get())).status, 200)
  })
})

suite('nothing is sent to a host whose certificate', () => {
  const cases: Readonly<
    Record<string, { secure: TlsOptions; network: string; trusted?: readonly string[] }>
  > = {
    'is for another name': {
      secure: makeCertificate(['evil.okta.com', 'okta.com'], authority),
      network: 'ERR_TLS_CERT_ALTNAME_INVALID',
    },
    'is for its address only': {
      secure: makeCertificate(['127.0.0.1', 'localhost'], authority),
      network: 'ERR_TLS_CERT_ALTNAME_INVALID',
    },
    'is signed by itself': { secure: makeCertificate([host]), network: 'DEPTH_ZERO_SELF_SIGNED_CERT' },
    'is by an authority that is not trusted': {
      secure: makeCertificate([host], makeAuthority('Another authority')),
      network: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    },
    'is by an authority of the same name with another key': {
      secure: makeCertificate([host], makeAuthority()),
      network: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE|CERT_SIGNATURE_FAILURE',
    },
    'would need an authority that nobody named': {
      secure: makeCertificate([host], authority),
      network: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      trusted: [],
    },
    'has expired': {
      secure: makeCertificate([host], authority, { notAfter: new Date(Date.now() - 60_000) }),
      network: 'CERT_HAS_EXPIRED',
    },
  }
  for (const [what, { secure, network, trusted }] of Object.entries(cases))
    test(what, async (t) => {
      const { http, standIn } = await facing(t, secure, trusted)
      await assert.rejects(http.request(get()), failsWith(network))
      assert.deepEqual(standIn.received, [])
    })

  test('is never shown, since it speaks an old TLS', async (t) => {
    const { http, standIn } = await facing(t, {
      ...makeCertificate([host], authority),
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    })
    await assert.rejects(http.request(get()), failsWith(/./))
    assert.deepEqual(standIn.received, [])
  })

  test('is never shown, since it speaks no TLS', async (t) => {
    const server = net.createServer((socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const http = clientOf({ origin: new URL(`https://127.0.0.1:${port}`) })
    t.after(async () => {
      await http.close()
      server.close()
    })
    await assert.rejects(http.request(get()), failsWith(/^ERR_SSL_/))
  })
})

test('the authorities of endpoints are trusted for endpoints alone', async (t) => {
  const standIn = await startStandIn(
    (socket) => socket.write(answer('{}')),
    makeCertificate([host], authority),
  )
  const publicAddress = '93.184.216.34'
  const http = createOutbound({
    endpoints: new Map([['other.okta.com', standIn.origin]]),
    endpointAuthorities: [authority.certificate],
    resolve: async () => [publicAddress],
    // As if the public address led here: a network whose routes are not ours.
    dial: () =>
      Object.defineProperty(net.connect(standIn.port, '127.0.0.1'), 'remoteAddress', {
        value: publicAddress,
      }),
  }).open([{ host, chosenBy: 'provider' }], AbortSignal.timeout(10_000))
  t.after(async () => {
    await http.close()
    await standIn.close()
  })
  await assert.rejects(http.request(get()), failsWith('UNABLE_TO_VERIFY_LEAF_SIGNATURE'))
  assert.deepEqual(standIn.received, [])
})
