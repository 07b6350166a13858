import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import { inspect } from 'node:util'
import zlib from 'node:zlib'
import type { OutboundOptions } from '../src/outbound/outbound.ts'
import { createOutbound, maxBodyBytes } from '../src/outbound/outbound.ts'
import { SourceError } from '../src/outbound/source-error.ts'
import { answer, clientOf, get, host, type Say, startStandIn, writeForever } from './outbound-stand-in.ts'

/** A client and the host it talks to, both gone at the end of the test. */
async function facing(t: TestContext, say: Say, options: OutboundOptions = {}, signal?: AbortSignal) {
  const standIn = await startStandIn(say)
  const http = clientOf(standIn, options, signal)
  t.after(async () => {
    await http.close()
    await standIn.close()
  })
  return { http, standIn }
}

const failsWith = (code: string) => (error: unknown) => {
  assert.ok(error instanceof SourceError, inspect(error))
  assert.equal(error.code, code)
  return true
}

/** What a provider would never send, and an attacker would: told again by nobody. */
const canary = 'canary-1d9f0c'

suite('an answer', () => {
  test('is returned whatever its status, with headers, text and our time', async (t) => {
    const now = new Date('2026-11-24T12:00:00Z')
    const { http, standIn } = await facing(
      t,
      (socket) =>
        socket.write(
          answer('{"errorCode":"E0000011"}', {
            status: '401 Unauthorized',
            headers: ['x-okta-request-id: r'],
          }),
        ),
      { now: () => now },
    )
    const got = await http.request({ ...get('/api/v1/users?limit=1'), headers: { Authorization: 'SSWS x' } })
    assert.equal(got.status, 401)
    assert.equal(got.headers.get('X-Okta-Request-Id'), 'r')
    assert.deepEqual(got.json(), { errorCode: 'E0000011' })
    assert.equal(got.receivedAt, now)
    assert.match(standIn.received[0] ?? '', /^GET \/api\/v1\/users\?limit=1 HTTP\/1\.1\r\n/)
    assert.match(standIn.received[0] ?? '', new RegExp(`\r\nhost: ${host}\r\n`, 'i'))
    assert.match(standIn.received[0] ?? '', /\r\nauthorization: SSWS x\r\n/)
    assert.match(standIn.received[0] ?? '', /\r\naccept-encoding: identity\r\n/)
  })

  test('may begin with a byte order mark', async (t) => {
    const { http } = await facing(t, (socket) => socket.write(answer('\ufeff{"a":1}')))
    assert.deepEqual((await http.request(get())).json(), { a: 1 })
  })

  for (const [coding, encode] of Object.entries({
    gzip: zlib.gzipSync,
    deflate: zlib.deflateSync,
    br: zlib.brotliCompressSync,
    identity: Buffer.from,
  }))
    test(`may be in the content coding ${coding}`, async (t) => {
      const { http } = await facing(t, (socket) =>
        socket.write(answer(encode(Buffer.from('{"a":1}')), { headers: [`content-encoding: ${coding}`] })),
      )
      assert.deepEqual((await http.request(get())).json(), { a: 1 })
    })

  test('may be as large as the limit', async (t) => {
    const { http } = await facing(t, (socket) => socket.write(answer(Buffer.alloc(maxBodyBytes, 'a'))))
    assert.equal((await http.request(get())).text.length, maxBodyBytes)
  })

  test('to a POST reads the body it was sent', async (t) => {
    const { http, standIn } = await facing(t, (socket) => socket.write(answer('{}')))
    await http.request({ ...get('/token'), method: 'POST', body: 'grant_type=x' })
    assert.match(standIn.received[0] ?? '', /content-length: 12\r\n(?:.*\r\n)*\r\ngrant_type=x$/i)
  })
})

suite('what is no answer of an API is never taken for one:', () => {
  const bodies = {
    'an HTML page': `<!doctype html><title>${canary}</title>`,
    nothing: '',
    blanks: ' \r\n',
    'half a document': `{"users":[{"id":"${canary}`,
    'a document and more': `{"id":"${canary}"} {}`,
    'nesting without end': '['.repeat(100_000),
    'a word': canary,
  }
  for (const [what, body] of Object.entries(bodies))
    test(what, async (t) => {
      const { http } = await facing(t, (socket) => socket.write(answer(body)))
      const got = await http.request(get('/api/v1/users'))
      assert.throws(
        () => got.json(),
        (error: SourceError) => {
          failsWith('unexpected_response')(error)
          assert.equal(error.asked, 'GET /api/v1/users')
          assert.equal(error.status, 200)
          assert.doesNotMatch(inspect(error, { depth: 9, showHidden: true }), new RegExp(canary))
          return true
        },
      )
    })

  const bytes: Readonly<Record<string, Buffer>> = {
    'two content codings': answer(zlib.gzipSync(zlib.gzipSync('{}')), {
      headers: ['content-encoding: gzip, gzip'],
    }),
    'two content codings in two fields': answer(zlib.gzipSync(zlib.deflateSync('{}')), {
      headers: ['content-encoding: deflate', 'content-encoding: gzip'],
    }),
    'an unknown content coding': answer('{}', { headers: ['content-encoding: zstd'] }),
    'a content coding named after an object member': answer('{}', {
      headers: ['content-encoding: constructor'],
    }),
    'a broken gzip stream': answer(`${canary}${canary}`, { headers: ['content-encoding: gzip'] }),
    'a truncated gzip stream': answer(zlib.gzipSync('{"a":1}').subarray(0, 12), {
      headers: ['content-encoding: gzip'],
    }),
    'a status that does not exist': answer('{}', { status: '999 No' }),
    'bytes of another protocol': Buffer.from(`SSH-2.0-${canary}\r\n`),
    'a header line without a name': Buffer.from(
      `HTTP/1.1 200 OK\r\n: ${canary}\r\ncontent-length: 2\r\n\r\n{}`,
    ),
    'a bare line feed in a header': Buffer.from('HTTP/1.1 200 OK\r\nx: a\n b\r\ncontent-length: 2\r\n\r\n{}'),
    'two lengths': Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}a'),
    'a length beside chunks': Buffer.from(
      'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n',
    ),
    'a chunk that is none': Buffer.from(
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n',
    ),
  }
  for (const [what, sent] of Object.entries(bytes))
    test(what, async (t) => {
      const { http } = await facing(t, (socket) => socket.end(sent))
      await assert.rejects(http.request(get()), (error: SourceError) => {
        failsWith('unexpected_response')(error)
        assert.doesNotMatch(inspect(error, { depth: 9, showHidden: true }), new RegExp(canary))
        return true
      })
    })

  test('interim answers without end', async (t) => {
    const { http, standIn } = await facing(t, (socket) =>
      writeForever(socket, Buffer.from('HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n')),
    )
    await assert.rejects(http.request(get()), failsWith('unexpected_response'))
    await standIn.allClosed()
  })

  for (const status of [
    '301 Moved',
    '302 Found',
    '303 See Other',
    '304 Not Modified',
    '307 Temporary',
    '308 Permanent',
  ])
    test(`a redirect with ${status}, which is not followed`, async (t) => {
      const { http, standIn } = await facing(t, (socket) =>
        socket.write(answer('', { status, headers: [`location: ${standIn.origin}elsewhere`] })),
      )
      await assert.rejects(
        http.request({ ...get(), headers: { authorization: 'SSWS x' } }),
        failsWith('redirected'),
      )
      assert.equal(standIn.received.length, 1)
    })
})

suite('an answer that does not end is cut off:', () => {
  const chunk = Buffer.alloc(64 * 1024, 'a')
  const head = (headers: readonly string[]) => ['HTTP/1.1 200 OK', ...headers, '', ''].join('\r\n')

  const endless: Readonly<Record<string, Say>> = {
    'a body until the connection closes': (socket) => {
      socket.write(head([]))
      writeForever(socket, chunk)
    },
    'a body of 10 GB': (socket) => {
      socket.write(head(['content-length: 10000000000']))
      writeForever(socket, chunk)
    },
    chunks: (socket) => {
      socket.write(head(['transfer-encoding: chunked']))
      writeForever(socket, Buffer.concat([Buffer.from('10000\r\n'), chunk, Buffer.from('\r\n')]))
    },
    'a gzip bomb': (socket) => {
      socket.write(head(['content-encoding: gzip']))
      writeForever(socket, bomb)
    },
    'a Brotli bomb': (socket) => {
      socket.write(head(['content-encoding: br']))
      socket.end(brotliBomb)
    },
    'a gzip bomb that fits the limit while it is packed': (socket) =>
      socket.end(answer(bomb, { headers: ['content-encoding: gzip'] })),
    'a million chunks of a byte': (socket) => {
      socket.write(head(['transfer-encoding: chunked']))
      writeForever(socket, Buffer.from('1\r\na\r\n'.repeat(10_000)))
    },
    'a gzip stream that never gives a byte': (socket) => {
      socket.write(head(['content-encoding: gzip']))
      writeForever(socket, Buffer.concat(Array.from({ length: 200 }, () => zlib.gzipSync(''))))
    },
    'a header field': (socket) => {
      socket.write('HTTP/1.1 200 OK\r\nx: ')
      writeForever(socket, chunk)
    },
    'header fields': (socket) => {
      socket.write('HTTP/1.1 200 OK\r\n')
      writeForever(socket, Buffer.from('x-flood: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n'.repeat(100)))
    },
  }
  const zeros = Buffer.alloc(64 * 1024 * 1024)
  const bomb = zlib.gzipSync(zeros)
  const brotliBomb = zlib.brotliCompressSync(zeros, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } })

  for (const [what, say] of Object.entries(endless))
    test(what, async (t) => {
      const { http, standIn } = await facing(t, say)
      const before = process.memoryUsage.rss()
      await assert.rejects(http.request(get()), failsWith('too_large'))
      await standIn.allClosed()
      // The limit, and what lies in the buffers of both sockets on the way.
      assert.ok(
        standIn.bytesSent() < maxBodyBytes + 12 * 1024 * 1024,
        `${standIn.bytesSent()} bytes were taken`,
      )
      const grown = process.memoryUsage.rss() - before
      assert.ok(grown < 96 * 1024 * 1024, `memory grew by ${grown} bytes`)
    })

  test('one byte over the limit that the request set', async (t) => {
    const { http } = await facing(t, (socket, turn) =>
      socket.write(answer('a'.repeat(turn === 1 ? 100 : 101))),
    )
    assert.equal((await http.request({ ...get(), maxBodyBytes: 100 })).text.length, 100)
    await assert.rejects(http.request({ ...get(), maxBodyBytes: 100 }), failsWith('too_large'))
  })

  test('a limit of the request above ours does not count', async (t) => {
    const { http } = await facing(t, (socket) => socket.write(answer(Buffer.alloc(maxBodyBytes + 1))))
    await assert.rejects(
      http.request({ ...get(), maxBodyBytes: Number.MAX_SAFE_INTEGER }),
      failsWith('too_large'),
    )
  })
})

suite('a host that keeps us waiting', () => {
  test('before its headers is given up', async (t) => {
    const { http } = await facing(t, () => undefined, { limits: { headersMs: 50 } })
    await assert.rejects(http.request(get()), failsWith('timed_out'))
  })

  test('in the middle of its body is given up', async (t) => {
    const { http } = await facing(
      t,
      (socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{'),
      {
        limits: { idleMs: 50 },
      },
    )
    await assert.rejects(http.request(get()), failsWith('timed_out'))
  })

  test('by a byte now and then is given up when the time of the request is over', async (t) => {
    const { http, standIn } = await facing(
      t,
      (socket) => {
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n')
        const drip = setInterval(() => socket.write(' '), 5)
        socket.once('close', () => clearInterval(drip))
      },
      { limits: { requestMs: 700, idleMs: 5_000 } },
    )
    await assert.rejects(http.request(get()), failsWith('timed_out'))
    await standIn.allClosed()
  })

  test('is given up when the caller stops', async (t) => {
    const caller = new AbortController()
    const { http, standIn } = await facing(t, () => caller.abort(), {}, caller.signal)
    await assert.rejects(http.request(get()), failsWith('timed_out'))
    await standIn.allClosed()
  })

  test('is not even asked when the caller has stopped before', async (t) => {
    const { http, standIn } = await facing(t, (socket) => socket.write(answer('{}')), {}, AbortSignal.abort())
    await assert.rejects(http.request(get()), failsWith('timed_out'))
    assert.equal(standIn.connections(), 0)
  })

  test('holds nothing back of a client that is closed', async () => {
    const standIn = await startStandIn((_socket, turn) => turn === 3 && void http.close())
    const http = clientOf(standIn)
    const ends = await Promise.allSettled([http.request(get()), http.request(get()), http.request(get())])
    for (const end of ends) assert.ok(end.status === 'rejected' && failsWith('timed_out')(end.reason))
    await standIn.allClosed()
    await standIn.close()
  })
})

suite('a GET is asked once more', () => {
  const reset: Say = (socket) => socket.resetAndDestroy()
  const unavailable = (headers: readonly string[] = []) =>
    answer('{}', { status: '503 Service Unavailable', headers })

  test('after the connection was reset before an answer', async (t) => {
    const { http } = await facing(t, (socket, turn, request) =>
      turn === 1 ? reset(socket, turn, request) : socket.write(answer('{"a":1}')),
    )
    assert.deepEqual((await http.request(get())).json(), { a: 1 })
  })

  for (const status of ['502 Bad Gateway', '503 Service Unavailable', '504 Gateway Timeout'])
    test(`after ${status}`, async (t) => {
      const { http, standIn } = await facing(t, (socket, turn) =>
        socket.write(turn === 1 ? answer('', { status }) : answer('{}')),
      )
      assert.equal((await http.request(get())).status, 200)
      assert.equal(standIn.received.length, 2)
    })

  test('after 503 that asks for no wait', async (t) => {
    const { http, standIn } = await facing(t, (socket, turn) =>
      socket.write(turn === 1 ? unavailable(['retry-after: 0']) : answer('{}')),
    )
    assert.equal((await http.request(get())).status, 200)
    assert.equal(standIn.received.length, 2)
  })

  test('and no more often, and the second answer counts', async (t) => {
    const { http, standIn } = await facing(t, (socket) => socket.write(unavailable()))
    assert.equal((await http.request(get())).status, 503)
    assert.equal(standIn.received.length, 2)
  })

  test('and where that ends in silence, the first answer counts', async (t) => {
    const { http, standIn } = await facing(t, (socket, turn, request) =>
      turn === 1 ? socket.write(unavailable()) : reset(socket, turn, request),
    )
    assert.equal((await http.request(get())).status, 503)
    assert.equal(standIn.received.length, 2)
  })
})

suite('a request is not asked again', () => {
  const cases: Readonly<Record<string, { say: Say; method?: 'POST'; budgetMs?: number }>> = {
    'when it is a POST that was reset': { say: (socket) => socket.resetAndDestroy(), method: 'POST' },
    'when it is a POST answered 503': {
      say: (socket) => socket.write(answer('{}', { status: '503 Service Unavailable' })),
      method: 'POST',
    },
    'when a longer wait was asked for': {
      say: (socket) =>
        socket.write(answer('{}', { status: '503 Service Unavailable', headers: ['retry-after: 2'] })),
    },
    'when the wait cannot be read': {
      say: (socket) =>
        socket.write(answer('{}', { status: '503 Service Unavailable', headers: ['retry-after: NaN'] })),
    },
    'after 500': { say: (socket) => socket.write(answer('{}', { status: '500 Internal Server Error' })) },
    'after 429': { say: (socket) => socket.write(answer('{}', { status: '429 Too Many Requests' })) },
    'when the connection was cut in the middle of its answer': {
      say: (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{'),
    },
    'when less than a third of its time is left': { say: (socket) => socket.resetAndDestroy(), budgetMs: 0 },
  }
  for (const [what, { say, method = 'GET', budgetMs }] of Object.entries(cases))
    test(what, async (t) => {
      const standIn = await startStandIn(say)
      const { createOutbound } = await import('../src/outbound/outbound.ts')
      const http = createOutbound({ endpoints: new Map([[host, standIn.origin]]) }).open(
        [{ host, chosenBy: 'provider' }],
        AbortSignal.timeout(10_000),
        budgetMs,
      )
      t.after(async () => {
        await http.close()
        await standIn.close()
      })
      await http.request({ ...get(), method }).catch(failsWith('unreachable'))
      assert.equal(standIn.received.length, 1)
    })
})

suite('an answer belongs to its question:', () => {
  const evil = answer('{"from":"nobody"}')

  test('a second one in the same breath answers nothing', async (t) => {
    const { http, standIn } = await facing(t, (socket, turn) =>
      socket.write(turn === 1 ? Buffer.concat([answer('{"turn":1}'), evil]) : answer(`{"turn":${turn}}`)),
    )
    assert.deepEqual((await http.request(get())).json(), { turn: 1 })
    assert.deepEqual((await http.request(get())).json(), { turn: 2 })
    assert.equal(standIn.connections(), 2)
  })

  test('bytes on an idle connection answer nothing', async (t) => {
    const { http, standIn } = await facing(t, (socket, turn) => {
      socket.write(answer(`{"turn":${turn}}`))
      if (turn === 1) setImmediate(() => socket.write(evil))
    })
    assert.deepEqual((await http.request(get())).json(), { turn: 1 })
    await standIn.allClosed()
    assert.deepEqual((await http.request(get())).json(), { turn: 2 })
  })

  test('a header that holds another answer stays within its own', async (t) => {
    const { http } = await facing(t, (socket, turn) =>
      socket.write(
        turn === 1
          ? 'HTTP/1.1 204 No Content\r\nx: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n{"from":"nobody"}'
          : answer(`{"turn":${turn}}`),
      ),
    )
    assert.equal((await http.request(get())).status, 204)
    assert.deepEqual((await http.request(get())).json(), { turn: 2 })
  })

  test('questions side by side get each their own', async (t) => {
    const { http } = await facing(t, (socket, _turn, request) => {
      const path = request.split(' ')[1]
      setImmediate(() => socket.write(answer(JSON.stringify({ path }))))
    })
    const paths = Array.from({ length: 60 }, (_, index) => `/${index}`)
    const answers = await Promise.all(paths.map((path) => http.request(get(path))))
    assert.deepEqual(
      answers.map((got) => got.json()),
      paths.map((path) => ({ path })),
    )
  })

  test('two clients share no connection', async (t) => {
    const standIn = await startStandIn((socket) => socket.write(answer('{}')))
    const clients = [clientOf(standIn), clientOf(standIn)]
    t.after(async () => {
      for (const http of clients) await http.close()
      await standIn.close()
    })
    for (const http of clients) await http.request(get())
    assert.equal(standIn.connections(), 2)
  })
})

suite('a request that cannot be sent', () => {
  for (const value of [`${canary}\r\nx: y`, `${canary}\0`, `${canary}…`])
    test(`because of ${JSON.stringify(value)} in a header is not sent, and the value is not repeated`, async (t) => {
      const { http, standIn } = await facing(t, (socket) => socket.write(answer('{}')))
      await assert.rejects(
        http.request({ ...get(), headers: { authorization: value } }),
        (error: SourceError) => {
          failsWith('not_configured')(error)
          assert.deepEqual(error.hints, { unsendable_header: 'authorization' })
          assert.doesNotMatch(inspect(error, { depth: 9, showHidden: true }), new RegExp(canary))
          return true
        },
      )
      assert.equal(standIn.connections(), 0)
    })

  for (const header of ['host', 'Host', 'connection', 'transfer-encoding', 'content-length'])
    test(`because it sets ${header} is a bug`, async (t) => {
      const { http, standIn } = await facing(t, (socket) => socket.write(answer('{}')))
      await assert.rejects(http.request({ ...get(), headers: { [header]: 'evil.tld' } }), TypeError)
      assert.equal(standIn.connections(), 0)
    })

  test('never repeats a credential in any of its errors', async (t) => {
    for (const say of [
      (socket) => socket.resetAndDestroy(),
      (socket) => socket.end('nonsense\r\n\r\n'),
      (socket) => socket.end(answer('<html>')),
    ] satisfies Say[]) {
      const { http } = await facing(t, say)
      const failed = await http
        .request({
          ...get(),
          method: 'POST',
          headers: { authorization: `SSWS ${canary}` },
          body: `secret=${canary}`,
        })
        .then((got) => got.json())
        .catch((error: unknown) => error)
      assert.doesNotMatch(inspect(failed, { depth: 9, showHidden: true }), new RegExp(canary))
    }
  })
})

test('many clients at a time have few connections each, and all of their questions are answered', async (t) => {
  const standIn = await startStandIn((socket) => setImmediate(() => socket.write(answer('{}'))))
  const outbound = createOutbound({
    endpoints: new Map([[host, standIn.origin]]),
    limits: { socketsPerHost: 8, socketsInAll: 8 },
  })
  const rules = [{ labelUnder: '.okta.com', chosenBy: 'provider' }] as const
  const open = () => outbound.open(rules, AbortSignal.timeout(10_000))
  const clients = [open(), open(), open(), open()]
  t.after(async () => {
    for (const http of clients) await http.close()
    await standIn.close()
  })
  const answers = await Promise.all(
    clients.flatMap((http) => Array.from({ length: 10 }, () => http.request(get()))),
  )
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]))
  assert.equal(standIn.connections(), 4 * 4)
})
