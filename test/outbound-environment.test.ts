import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { answer, host, makeAuthority, makeCertificate, startStandIn } from './outbound-stand-in.ts'

const root = join(import.meta.dirname, '..')

/**
 * Asks three hosts in a process of its own: `host`, by the endpoint; one whose address is not public; and one whose
 * public address leads to the endpoint all the same, as in a network whose routes are not ours.
 */
const program = `
import net from 'node:net'
import { createOutbound } from ${JSON.stringify(join(root, 'src/outbound/outbound.ts'))}
const [origin] = process.argv.slice(1)
const http = createOutbound({
  endpoints: new Map([[${JSON.stringify(host)}, new URL(origin)]]),
  resolve: async (name) => [name === 'direct.okta.com' ? '93.184.216.34' : '127.0.0.1'],
  dial: (address, port) =>
    port === 443
      ? Object.defineProperty(net.connect(new URL(origin).port, '127.0.0.1'), 'remoteAddress', { value: address })
      : net.connect(port, address),
}).open([{ labelUnder: '.okta.com', chosenBy: 'provider' }], AbortSignal.timeout(10000))
const ask = (name) =>
  http
    .request({ operation: 'read', method: 'GET', url: 'https://' + name + '/' })
    .then((answer) => answer.status, (error) => [error.code, error.hints.network].join(' '))
console.log(JSON.stringify([await ask(${JSON.stringify(host)}), await ask('private.okta.com'), await ask('direct.okta.com')]))
await http.close()
`

/** What the program printed under `environment`, which is all the environment it has. */
async function runWith(environment: Readonly<Record<string, string>>, origin: URL): Promise<unknown> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '--eval', program, origin.href],
    { env: { PATH: process.env.PATH, ...environment }, timeout: 20_000 },
  )
  return JSON.parse(stdout)
}

/** A proxy that takes every connection and drops it. */
async function startProxy(t: TestContext) {
  let connections = 0
  const server = net.createServer((socket) => {
    connections++
    socket.on('error', () => undefined)
    socket.once('data', () => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return { port: (server.address() as AddressInfo).port, connections: () => connections }
}

test('proxy variables change nothing, and no proxy is connected to', async (t) => {
  const proxy = await startProxy(t)
  const { origin, authorityFile } = await secureStandIn(t)
  const proxyOrigin = `http://127.0.0.1:${proxy.port}`
  const environment: Record<string, string> = {
    NODE_EXTRA_CA_CERTS: authorityFile,
    NODE_USE_ENV_PROXY: '1',
    NO_PROXY: '',
    no_proxy: '',
  }
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'FTP_PROXY', 'SOCKS_PROXY']) {
    environment[name] = proxyOrigin
    environment[name.toLowerCase()] = proxyOrigin
  }
  assert.deepEqual(await runWith(environment, origin), [200, 'forbidden_host ADDRESS_NOT_PUBLIC', 200])
  assert.equal(proxy.connections(), 0)
})

test('an authority of NODE_EXTRA_CA_CERTS is trusted for endpoints and for providers alike', async (t) => {
  const { origin, authorityFile } = await secureStandIn(t)
  const forbidden = 'forbidden_host ADDRESS_NOT_PUBLIC'
  assert.deepEqual(await runWith({ NODE_EXTRA_CA_CERTS: authorityFile }, origin), [200, forbidden, 200])
  const untrusted = 'tls_failed UNABLE_TO_VERIFY_LEAF_SIGNATURE'
  assert.deepEqual(await runWith({}, origin), [untrusted, forbidden, untrusted])
})

test('certificates are verified though the environment says otherwise', async (t) => {
  const { origin, received } = await secureStandIn(t)
  const environment = { NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' }
  assert.deepEqual(await runWith(environment, origin), await runWith({}, origin))
  assert.deepEqual(received, [])
})

/** A stand-in over TLS with a certificate by an authority that only `authorityFile` holds. */
async function secureStandIn(t: TestContext) {
  const authority = makeAuthority()
  const certificate = makeCertificate([host, 'direct.okta.com'], authority)
  const standIn = await startStandIn((socket) => socket.write(answer('{}')), certificate)
  const directory = await mkdtemp(join(tmpdir(), 'outbound-'))
  const authorityFile = join(directory, 'authority.pem')
  await writeFile(authorityFile, authority.certificate)
  t.after(async () => {
    await standIn.close()
    await rm(directory, { recursive: true })
  })
  return { origin: standIn.origin, received: standIn.received, authorityFile }
}

/** Ways to the network that take proxies from the environment, share sockets or follow redirects, beside the imports that architecture.test.ts forbids. */
const closedToAll: Readonly<Record<string, RegExp>> = {
  'the global fetch, handed on': /\[(?:\w+\.)?customFetch\]:\s*fetch\b|\bfetch\s*[,})]|=\s*fetch\b/,
  'a WebSocket or an EventSource': /\bnew (?:WebSocket|EventSource|XMLHttpRequest)\b/,
  "undici's global dispatcher or proxies":
    /import\s*\{[^}]*\b(?:fetch|setGlobalDispatcher|getGlobalDispatcher|EnvHttpProxyAgent|ProxyAgent|Socks5ProxyAgent)\b[^}]*\}\s*from\s*'undici'/,
  'keys that jose fetches by itself': /\bcreateRemoteJWKSet\b(?![\s\S]*\bcustomFetch\b)/,
}

/** What knows a provider has no way out but the HttpClient that it is handed. */
const closedToSources: Readonly<Record<string, RegExp>> = { undici: /from\s*'undici'/ }

async function codeUnder(folder: string) {
  const files = (await readdir(join(root, folder), { recursive: true })).filter(
    (file) => file.endsWith('.ts') && !file.endsWith('.test.ts'),
  )
  return Promise.all(
    files.map(async (file) => ({
      file: join(folder, file),
      code: (await readFile(join(root, folder, file), 'utf8')).replace(/^\s*(?:\/\/|\/?\*).*$/gm, ''),
    })),
  )
}

for (const [folder, ways] of Object.entries({ src: closedToAll, 'src/sources': closedToSources }))
  for (const [way, pattern] of Object.entries(ways))
    test(`nothing under ${folder} uses ${way}`, async () => {
      const users = (await codeUnder(folder)).filter(({ code }) => pattern.test(code))
      assert.deepEqual(
        users.map(({ file }) => file),
        [],
      )
    })
