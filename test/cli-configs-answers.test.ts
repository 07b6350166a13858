/** `credence configs` and servers that are busy, broken, elsewhere, or none of ours. */
import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { type Lasting, runCommand } from './running-command.ts'

const keys = { DD_API_KEY: 'a'.repeat(32), DD_APP_KEY: 'b'.repeat(40) }
const id = '8f1d3c5e-9a0b-4c6d-8e2f-1a3b5c7d9e0f'

type Handler = (request: IncomingMessage, response: ServerResponse, count: number) => void

async function serving(t: Lasting, handle: Handler) {
  const asked: IncomingMessage[] = []
  const server = createServer((request, response) => {
    asked.push(request)
    request.resume()
    handle(request, response, asked.length)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, asked }
}

const answer = (response: ServerResponse, status: number, body: string, headers = {}) =>
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body)

const list = (t: Lasting, url: string, ...more: readonly string[]) =>
  runCommand(t, ['configs', 'list', ...more], { ...keys, CREDENCE_URL: url })

for (const status of [429, 503]) {
  test(`${status} is asked again after the time that the server names`, async (t) => {
    const { url, asked } = await serving(t, (_, response, count) => {
      if (count === 1) answer(response, status, '{"errors":["Busy"]}', { 'x-ratelimit-reset': '1' })
      else answer(response, 200, '{"data":[]}')
    })
    const { code, stdout, stderr } = await list(t, url, '--json')
    assert.deepEqual([code, stdout, asked.length], [0, '{"data":[]}\n', 2])
    assert.match(stderr, new RegExp(`could not tell yet \\(${status}\\): Busy Asking again in 1 s`))
  })

  test(`${status} with a wait beyond the time limit ends at once with status 3`, async (t) => {
    const { url, asked } = await serving(t, (_, response) =>
      answer(response, status, '{"errors":["Busy"]}', { 'x-ratelimit-reset': '60' }),
    )
    const { code, stderr } = await list(t, url, '--timeout', '20')
    assert.deepEqual([code, stderr, asked.length], [3, 'credence: Busy\n', 1])
  })
}

test('a redirect is not followed, and no key is sent on', async (t) => {
  const elsewhere = await serving(t, (_, response) => answer(response, 200, '{"data":[]}'))
  const { url } = await serving(t, (_, response) =>
    response.writeHead(308, { location: `${elsewhere.url}/` }).end(),
  )
  const { code, stderr } = await list(t, url)
  assert.equal(code, 3)
  assert.match(stderr, /answered 308, a redirect: keys are not sent on/)
  assert.equal(elsewhere.asked.length, 0)
})

const strange: readonly (readonly [string, number, string])[] = [
  ['a web page', 200, '<html>welcome</html>'],
  ['another document', 200, '{"data":{"id":1}}'],
  ['nothing', 200, ''],
  ['a list that is nested too deep', 200, '['.repeat(100_000)],
  ['half a document', 200, '{"data":['],
  ['a failure', 500, '{"errors":["Internal Server Error"]}'],
  ['a page of a gateway', 502, '<html>bad gateway</html>'],
]
for (const [what, status, body] of strange) {
  test(`${what} in place of an answer is status 3 in one line`, async (t) => {
    const { url } = await serving(t, (_, response) => answer(response, status, body))
    const { code, stdout, stderr } = await list(t, url)
    assert.deepEqual([code, stdout], [3, ''])
    assert.match(stderr, /^credence: .+\n$/)
    assert.doesNotMatch(stderr, /internal error|SyntaxError/)
  })
}

test('a server that is silent, or closes the connection, is status 3', async (t) => {
  const silent = await serving(t, () => {})
  const late = await list(t, silent.url, '--timeout', '1')
  assert.equal(late.code, 3)
  assert.match(late.stderr, /did not answer in time \(--timeout\)/)
  const closing = await serving(t, (request) => request.socket.destroy())
  const closed = await runCommand(t, ['configs', 'delete', id], { ...keys, CREDENCE_URL: closing.url })
  assert.equal(closed.code, 3)
  assert.match(closed.stderr, /closed the connection before it answered; whether it was done is not known/)
})

test('what a server says cannot steer the terminal', async (t) => {
  const { url } = await serving(t, (_, response) =>
    answer(response, 400, JSON.stringify({ errors: ['\u001b[2Jgone\u202e'] })),
  )
  const { code, stderr } = await list(t, url)
  assert.deepEqual([code, stderr], [1, 'credence:  [2Jgone \n'])
})

test('keys are sent over https or to this machine alone, and an address has no secrets', async (t) => {
  const addresses = [
    ['http://credence.example.com', /over https alone/],
    ['ftp://credence.example.com', /expected an address/],
    ['https://user:hunter2@credence.example.com', /without user/],
    ['https://credence.example.com/?key=hunter2', /without user, query/],
    ['credence.example.com', /expected an address/],
  ] as const
  for (const [url, says] of addresses) {
    const { code, stderr } = await list(t, url)
    assert.equal(code, 2, url)
    assert.match(stderr, says)
    assert.doesNotMatch(stderr, /hunter2/)
  }
  const broken = await runCommand(t, ['configs', 'list'], {
    ...keys,
    CREDENCE_URL: 'http://127.0.0.1:9',
    DD_APP_KEY: 'two\r\nlines',
  })
  assert.deepEqual([broken.code, broken.stderr], [2, 'credence: DD_APP_KEY is not a key\n'])
})

test('an access token goes without an API key, below a path of the address', async (t) => {
  const { url, asked } = await serving(t, (_, response) => answer(response, 200, '{"data":[]}'))
  const { code } = await runCommand(t, ['configs', 'list'], {
    CREDENCE_URL: `${url}/credence/`,
    DD_APP_KEY: 'ddpat_abc',
  })
  assert.equal(code, 0)
  assert.match(asked[0]?.url ?? '', /^\/credence\/api\/v2\/security_monitoring\//)
  assert.deepEqual(
    [asked[0]?.headers['dd-api-key'], asked[0]?.headers['dd-application-key']],
    [undefined, 'ddpat_abc'],
  )
})
