import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { suite, type TestContext, test } from 'node:test'
import { inspect } from 'node:util'
import type { Dial } from '../src/outbound/connect.ts'
import type { EgressRule } from '../src/outbound/http.ts'
import { createOutbound, type OutboundOptions } from '../src/outbound/outbound.ts'
import { SourceError } from '../src/outbound/source-error.ts'
import { answer, get, host, makeAuthority, makeCertificate, startStandIn } from './outbound-stand-in.ts'

const provider: readonly EgressRule[] = [{ labelUnder: '.okta.com', chosenBy: 'provider' }]

/** A public address that nothing is ever sent to here, and another. */
const publicAddress = '93.184.216.34'
const otherPublicAddress = '2606:2800:21f:cb07:6820:80da:af6b:8b2c'

/** A client for `host`, with whatever names resolve to and wherever connections end; both are watched. */
function watched(
  t: TestContext,
  {
    resolve = async () => [publicAddress],
    dial = refusing,
    rules = provider,
    ...options
  }: OutboundOptions & {
    rules?: readonly EgressRule[]
  },
) {
  const asked: string[] = []
  const dialled: string[] = []
  const http = createOutbound({
    ...options,
    resolve: (name) => {
      asked.push(name)
      return resolve(name)
    },
    dial: (address, port) => {
      dialled.push(`${address} ${port}`)
      return dial(address, port)
    },
  }).open(rules, AbortSignal.timeout(10_000))
  t.after(() => http.close())
  return { http, asked, dialled }
}

/** A connection that is refused. */
const refusing: Dial = () => {
  const socket = new net.Socket()
  socket.destroy(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }))
  return socket
}

/** A connection of which nothing is ever heard. */
const filtered: Dial = () => new net.Socket()

/** A loopback server that must not receive a byte. */
async function listener(t: TestContext) {
  let bytes = 0
  let connections = 0
  const server = net.createServer((socket) => {
    connections++
    socket.on('data', (chunk) => {
      bytes += chunk.length
    })
    socket.on('error', () => undefined)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return { port: (server.address() as AddressInfo).port, bytes: () => bytes, connections: () => connections }
}

const failsWith = (code: string, network?: string) => (error: unknown) => {
  assert.ok(error instanceof SourceError, inspect(error))
  assert.equal(error.code, code)
  if (network !== undefined) assert.equal(error.hints.network, network)
  return true
}

suite('a name is not connected to', () => {
  const answers: Readonly<Record<string, readonly string[]>> = {
    'when it is private': ['10.1.2.3'],
    'when it is loopback': ['127.0.0.1'],
    'when it is link-local, where metadata lives': ['169.254.169.254'],
    'when it is the metadata of AWS in IPv6': ['fd00:ec2::254'],
    'when it is carrier-grade NAT': ['100.64.0.1'],
    'when it is this network': ['0.0.0.0'],
    'when it is loopback in IPv6': ['::1'],
    'when it is mapped': ['::ffff:10.0.0.1'],
    'when it is mapped from a public address': ['::ffff:8.8.8.8'],
    'when it is NAT64': ['64:ff9b::a00:1'],
    'when it is local NAT64': ['64:ff9b:1::a00:1'],
    'when it is 6to4': ['2002:a00:1::'],
    'when it is Teredo': ['2001:0:a00:1::1'],
    'when it is site-local': ['fec0::1'],
    'when it is multicast': ['224.0.0.1'],
    'when it has a zone': ['fe80::1%lo'],
    'when it is no address': ['acme.internal'],
    'when one address of several is private': [publicAddress, '192.168.1.1', otherPublicAddress],
  }
  for (const [when, addresses] of Object.entries(answers))
    test(when, async (t) => {
      const { http, dialled } = watched(t, { resolve: async () => addresses })
      await assert.rejects(http.request(get()), failsWith('forbidden_host', 'ADDRESS_NOT_PUBLIC'))
      assert.deepEqual(dialled, [])
    })

  test('when it is public at one look-up and private at the next', async (t) => {
    const turns = [[publicAddress], ['127.0.0.1']]
    const { http, dialled } = watched(t, { resolve: async () => turns.shift() ?? [] })
    await assert.rejects(http.request(get()), failsWith('unreachable'))
    await assert.rejects(http.request(get()), failsWith('forbidden_host'))
    assert.deepEqual(dialled, [`${publicAddress} 443`])
  })

  test('a second time: what was vetted is what is dialled', async (t) => {
    const { http, asked, dialled } = watched(t, { resolve: async () => [publicAddress, otherPublicAddress] })
    await assert.rejects(http.request(get()), failsWith('unreachable', 'ECONNREFUSED'))
    assert.deepEqual(asked, [host])
    assert.deepEqual(dialled, [`${publicAddress} 443`, `${otherPublicAddress} 443`])
  })

  test('when no rule allows it, whatever the URL looks like', async (t) => {
    const { http, asked, dialled } = watched(t, {})
    for (const url of [
      'https://evil.tld/',
      'https://acme.okta.com:8443/',
      'https://acme.okta.com:443/',
      'https://user:pass@acme.okta.com/',
      'https://acme.okta.com@evil.tld/',
      'https://acme.okta.com\\@evil.tld/',
      'https:\\\\acme.okta.com/',
      'http://acme.okta.com/',
      'https://127.0.0.1/',
      'https://2130706433/',
      'https://0x7f.1/',
      'https://[::1]/',
      'https://[::ffff:7f00:1]/',
      'https://[fe80::1%25lo]/',
      'https://a.b.okta.com/',
      'https://acme.okta.com.evil.tld/',
      'data:text/plain,a',
      'file:///etc/passwd',
      '',
    ])
      await assert.rejects(
        http.request({ operation: 'read', method: 'GET', url }),
        failsWith('forbidden_host'),
        url,
      )
    assert.deepEqual(asked, [])
    assert.deepEqual(dialled, [])
  })
})

test('a socket that ends up elsewhere is dropped before a byte of TLS is sent', async (t) => {
  const { port, bytes, connections } = await listener(t)
  const { http } = watched(t, { dial: () => net.connect(port, '127.0.0.1') })
  await assert.rejects(http.request(get()), failsWith('forbidden_host', 'PEER_MISMATCH'))
  assert.equal(connections(), 1)
  assert.equal(bytes(), 0)
})

suite('a name of which', () => {
  test('the resolver knows nothing is told from a host that refuses', async (t) => {
    const unknown = Object.assign(new Error('getaddrinfo ENOTFOUND acme.okta.com'), { code: 'ENOTFOUND' })
    const { http } = watched(t, { resolve: () => Promise.reject(unknown) })
    await assert.rejects(http.request(get()), failsWith('dns_failed', 'ENOTFOUND'))
  })

  test('no address is known is a failed look-up', async (t) => {
    const { http } = watched(t, { resolve: async () => [] })
    await assert.rejects(http.request(get()), failsWith('dns_failed'))
  })

  test('nothing is heard in time is a failed look-up', async (t) => {
    const { http } = watched(t, { resolve: () => new Promise(() => undefined), limits: { connectMs: 30 } })
    await assert.rejects(http.request(get()), failsWith('dns_failed', 'ETIMEDOUT'))
  })

  test('many ask at once is looked up once', async (t) => {
    const { http, asked } = watched(t, {})
    await Promise.allSettled(Array.from({ length: 10 }, () => http.request(get())))
    assert.deepEqual(asked, [host])
  })
})

test('an address that stays silent does not keep the next from being tried', async (t) => {
  const { http, dialled } = watched(t, {
    resolve: async () => [otherPublicAddress, publicAddress],
    dial: (address, port) => (address === publicAddress ? refusing(address, port) : filtered(address, port)),
    limits: { connectMs: 1_500 },
  })
  await assert.rejects(http.request(get()), failsWith('unreachable', 'ETIMEDOUT'))
  assert.deepEqual(dialled, [`${otherPublicAddress} 443`, `${publicAddress} 443`])
})

test('the families of addresses are tried by turns', async (t) => {
  const { http, dialled } = watched(t, {
    resolve: async () => ['2600::1', '2600::2', '2600::3', '93.184.216.1', '93.184.216.2'],
  })
  await assert.rejects(http.request(get()), failsWith('unreachable'))
  assert.deepEqual(
    dialled.map((dial) => dial.split(' ')[0]),
    ['2600::1', '93.184.216.1', '2600::2', '93.184.216.2', '2600::3'],
  )
})

test('no more than a few addresses of a name are tried', async (t) => {
  const { http, dialled } = watched(t, {
    resolve: async () => Array.from({ length: 200 }, (_, index) => `93.184.216.${index}`),
  })
  await assert.rejects(http.request(get()), failsWith('unreachable'))
  assert.equal(dialled.length, 8)
})

test('a caller who stops while a connection is made hears that the host was not reached', async (t) => {
  const caller = new AbortController()
  const http = createOutbound({
    resolve: async () => [publicAddress],
    dial: (address, port) => {
      setImmediate(() => caller.abort())
      return filtered(address, port)
    },
  }).open(provider, caller.signal)
  t.after(() => http.close())
  await assert.rejects(http.request(get()), failsWith('unreachable', 'ETIMEDOUT'))
})

test('a host that the customer named fails in one way, whatever is wrong with it', {
  timeout: 30_000,
}, async (t) => {
  const named = 'id.customer.example'
  const customerFailureMs = 400
  const { port } = await listener(t)
  const wrongName = await startStandIn(
    (socket) => socket.write(answer('{}')),
    makeCertificate(['other.example'], makeAuthority()),
  )
  const plain = await startStandIn((socket) => socket.end('SSH-2.0\r\n'))
  const mute = await startStandIn(() => undefined)
  t.after(() => Promise.all([wrongName.close(), plain.close(), mute.close()]))
  const overTls = (target: { port: number }) =>
    ({ endpoints: new Map([[named, new URL(`https://127.0.0.1:${target.port}`)]]) }) as const

  const ways: Readonly<Record<string, OutboundOptions>> = {
    unknown: { resolve: () => Promise.reject(Object.assign(new Error(), { code: 'ENOTFOUND' })) },
    'slow to look up': { resolve: () => new Promise(() => undefined) },
    private: { resolve: async () => ['10.0.0.1'] },
    refused: { resolve: async () => [publicAddress], dial: refusing },
    filtered: { resolve: async () => [publicAddress], dial: filtered },
    rebound: { resolve: async () => [publicAddress], dial: () => net.connect(port, '127.0.0.1') },
    'of another name': overTls(wrongName),
    'without TLS': overTls(plain),
    'silent in TLS': overTls(mute),
    'silent once connected': {
      endpoints: new Map([[named, (await acceptingStandIn(t)).origin]]),
    },
    'cutting connections': {
      endpoints: new Map([[named, (await closingStandIn(t)).origin]]),
    },
  }
  const seen = await Promise.all(
    Object.entries(ways).map(async ([way, options]) => {
      const http = createOutbound({ ...options, limits: { customerFailureMs, headersMs: 60_000 } }).open(
        [{ host: named, chosenBy: 'customer' }],
        AbortSignal.timeout(60_000),
      )
      t.after(() => http.close())
      const startedAt = performance.now()
      const error = await http
        .request({ operation: 'find the organisation', method: 'GET', url: `https://${named}/a` })
        .then(
          () => assert.fail(way),
          (thrown: unknown) => thrown,
        )
      assert.ok(error instanceof SourceError, inspect(error))
      assert.ok(performance.now() - startedAt >= customerFailureMs - 5, `${way} was told early`)
      return { way, told: { ...error, message: error.message, cause: error.cause } }
    }),
  )
  for (const { way, told } of seen) assert.deepEqual(told, seen[0]?.told, way)
  assert.partialDeepStrictEqual(seen[0]?.told, {
    code: 'unreachable',
    asked: 'GET /a',
    hints: {},
    cause: undefined,
  })
})

async function acceptingStandIn(t: TestContext) {
  const standIn = await startStandIn(() => undefined)
  t.after(() => standIn.close())
  return standIn
}

async function closingStandIn(t: TestContext) {
  const standIn = await startStandIn((socket) => socket.resetAndDestroy())
  t.after(() => standIn.close())
  return standIn
}

suite('an endpoint', () => {
  test('stands in for its own host alone', async (t) => {
    const standIn = await startStandIn((socket) => socket.write(answer('{}')))
    t.after(() => standIn.close())
    const { http, dialled } = watched(t, {
      endpoints: new Map([[host, standIn.origin]]),
      resolve: async () => ['127.0.0.1'],
      dial: (address, port) => net.connect({ host: address, port }),
    })
    assert.equal((await http.request(get())).status, 200)
    await assert.rejects(
      http.request({ operation: 'read', method: 'GET', url: 'https://other.okta.com/' }),
      failsWith('forbidden_host', 'ADDRESS_NOT_PUBLIC'),
    )
    assert.deepEqual(dialled, [`127.0.0.1 ${standIn.port}`])
  })

  test('opens no host that the rules do not', async (t) => {
    const standIn = await startStandIn((socket) => socket.write(answer('{}')))
    t.after(() => standIn.close())
    const { http } = watched(t, { endpoints: new Map([['evil.tld', standIn.origin]]) })
    await assert.rejects(
      http.request({ operation: 'read', method: 'GET', url: 'https://evil.tld/' }),
      failsWith('forbidden_host'),
    )
    assert.equal(standIn.connections(), 0)
  })

  test('called localhost is dialled as a loopback literal, never looked up', async (t) => {
    const standIn = await startStandIn((socket) => socket.write(answer('{}')))
    t.after(() => standIn.close())
    const { http, asked, dialled } = watched(t, {
      endpoints: new Map([[host, new URL(`http://localhost:${standIn.port}`)]]),
      dial: (address, port) => net.connect({ host: address, port }),
    })
    assert.equal((await http.request(get())).status, 200)
    assert.deepEqual(asked, [])
    assert.deepEqual(dialled, [`127.0.0.1 ${standIn.port}`])
  })

  test('that nobody listens on is unreachable', async (t) => {
    const { port } = await closedPort()
    const { http } = watched(t, {
      endpoints: new Map([[host, new URL(`http://127.0.0.1:${port}`)]]),
      dial: (address, to) => net.connect({ host: address, port: to }),
    })
    await assert.rejects(http.request(get()), failsWith('unreachable', 'ECONNREFUSED'))
  })
})

async function closedPort() {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return { port }
}
