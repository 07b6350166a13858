/** Answers that go on for long: who may read them, how many there may be, and what becomes of those that nobody reads. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import { after, before, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { request } from 'undici'
import { errorSchema } from '../src/api/errors.ts'
import { readOAuthIssuers } from '../src/config.ts'
import { exportedLines } from '../src/entities/feeds.ts'
import { createKey, revokeKey } from '../src/store/keys.ts'
import { type Api, headersOf, startApi } from './api-server.ts'
import { makeConfig, person, writeHistory } from './entity-world.ts'

const exportPath = '/api/v2/credence/entities/export'
const followPath = '/api/v2/credence/entities/changes?follow=true'
const changesPath = '/api/v2/credence/entities/changes'

/** Within so long a revocation holds everywhere, in milliseconds. */
const revokedWithinMs = 5_000
const unreadMs = 3_000

const issuer = 'https://login.example.com'
const signing = await generateKeyPair('ES256')
const jwk = { ...(await exportJWK(signing.publicKey)), kid: 'ec', alg: 'ES256', use: 'sig' }

let api: Api
const ends: (() => unknown)[] = []
before(async () => {
  api = await startApi(
    { after: (end) => ends.push(end) },
    {
      streamLimits: { lines: 8, linesOfOrganization: 6, followedLines: 4, unreadMs },
      config: {
        oauthIssuers: readOAuthIssuers(
          JSON.stringify([{ issuer, audience: 'credence', jwks: { keys: [jwk] }, organization: 'default' }]),
        ),
      },
    },
  )
})
after(async () => {
  for (const end of ends.reverse()) await end()
})

/** Keys of an organisation of its own. */
async function makeKeys(permissions: readonly string[] = ['siem_entities_read']) {
  const organization = randomUUID()
  const keys = await createKey({ database: api.database, permissions, organization })
  const { id } = await api.database.query
    .selectFrom('organizations')
    .select('id')
    .where('name', '=', organization)
    .executeTakeFirstOrThrow()
  return { id: keys.id, organizationId: id, headers: headersOf({ keys }) }
}

type Headers = Readonly<Record<string, string>>

/** A reader of a stream, who reads on until it ends. */
async function read(path: string, headers: Headers) {
  const { statusCode, body } = await request(`${api.url}${path}`, { headers })
  let text = ''
  body.setEncoding('utf8').on('data', (piece: string) => {
    text += piece
  })
  const isWhole = new Promise<boolean>((resolve) => {
    body.on('end', () => resolve(true))
    body.on('error', () => resolve(false))
  })
  return { status: statusCode, text: () => text, isWhole, leave: () => body.destroy() }
}

/** How it ended, which it has to do soon after it became forbidden. */
async function endOf(stream: Awaited<ReturnType<typeof read>>) {
  const tooLate = wait(revokedWithinMs, 'goes on' as const, { ref: false })
  const end = await Promise.race([stream.isWhole.then((isWhole) => ({ isWhole })), tooLate])
  if (end === 'goes on') stream.leave()
  return end
}

const statusOf = async (path: string, headers: Headers) => {
  const stream = await read(path, headers)
  stream.leave()
  return stream.status
}

/** More than connections hold by themselves. */
async function writeMuch(organizationId: string): Promise<void> {
  const config = await makeConfig(api.database, organizationId)
  const at = new Date(Date.now() - 86_400_000)
  const people = Array.from({ length: 1_000 }, (_, n) => ({
    config,
    entity: person(`p${n}`, { job_title: 'x'.repeat(20_000) }),
    from: at,
  }))
  await writeHistory(api.database, organizationId, people, at)
}

/** Asks on a connection of its own, and reads nothing. */
async function askUnread(path: string, headers: Headers): Promise<net.Socket> {
  const socket = net.connect(api.port, '127.0.0.1')
  socket.on('error', () => undefined).pause()
  await once(socket, 'connect')
  const lines = Object.entries({ ...headers, host: '127.0.0.1' }).map(([name, value]) => `${name}: ${value}`)
  socket.write(`GET ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`)
  return socket
}

/** Reads so many bytes, or until nothing comes any more. */
async function take(socket: net.Socket, bytes: number): Promise<string> {
  const pieces: Buffer[] = []
  let left = bytes
  const isDone = Promise.withResolvers<void>()
  const hear = (piece: Buffer) => {
    pieces.push(piece)
    left -= piece.length
    if (left <= 0) isDone.resolve()
  }
  socket.on('data', hear).resume()
  socket.once('close', isDone.resolve)
  await isDone.promise
  socket.off('data', hear).pause()
  return Buffer.concat(pieces).toString('utf8')
}

test('a feed that is followed is cut off when its key is revoked, and not asked for again with it', async () => {
  const { id, headers } = await makeKeys()
  const other = await read(followPath, (await makeKeys()).headers)
  const feed = await read(followPath, headers)
  await wait(1_500)
  await revokeKey({ database: api.database, id })
  assert.deepEqual(await endOf(feed), { isWhole: false })
  assert.equal(feed.text(), '\n')
  assert.equal(await statusOf(followPath, headers), 403)
  assert.match(api.log(), new RegExp(`"caller":"key:${id}".*"a stream was cut off: its caller`))
  assert.equal(other.text(), '\n')
  assert.equal(await Promise.race([other.isWhole, wait(100, 'goes on')]), 'goes on')
  other.leave()
})

test('an export that is being read is cut off when its key is revoked', async () => {
  const { id, organizationId, headers } = await makeKeys()
  await writeMuch(organizationId)
  const socket = await askUnread(exportPath, headers)
  await take(socket, 100_000)
  await revokeKey({ database: api.database, id })
  await wait(revokedWithinMs - 500)
  const rest = await take(socket, Number.POSITIVE_INFINITY)
  assert.ok(rest.length < 15_000_000 && !rest.endsWith('0\r\n\r\n'), 'it is not whole')
  assert.equal(await statusOf(exportPath, headers), 403)
})

test('a stream is cut off when its key loses the permission, or its token expires', async () => {
  const { id, headers } = await makeKeys()
  const reader = await read(followPath, headers)
  await api.database.query
    .updateTable('keys')
    .set({ permissions: ['integrations_read'] })
    .where('id', '=', id)
    .execute()
  assert.deepEqual(await endOf(reader), { isWhole: false })
  assert.equal(await statusOf(followPath, headers), 403)

  // Clocks may differ by 30 s.
  const token = await new SignJWT({ scope: 'siem_entities_read' })
    .setProtectedHeader({ alg: 'ES256', kid: 'ec' })
    .setIssuer(issuer)
    .setAudience('credence')
    .setSubject('robot')
    .setExpirationTime(Math.floor(Date.now() / 1000) - 26)
    .sign(signing.privateKey)
  const bearer = { authorization: `Bearer ${token}` }
  const byToken = await read(followPath, bearer)
  assert.equal(byToken.status, 200)
  assert.equal(await Promise.race([byToken.isWhole, wait(1_500, 'goes on')]), 'goes on')
  assert.deepEqual(await endOf(byToken), { isWhole: false })
  assert.equal(await statusOf(followPath, bearer), 403)
})

test('whoever leaves a feed makes room for another at once', async () => {
  const { headers } = await makeKeys()
  const statuses: number[] = []
  for (let n = 0; n < 12; n += 1) {
    statuses.push(await statusOf(followPath, headers))
    await wait(50)
  }
  assert.deepEqual(new Set(statuses), new Set([200]))
})

test('streams of lines are limited, for each organisation and for all; those of others go on', async () => {
  const [one, two] = [await makeKeys(), await makeKeys()]
  for (const { organizationId } of [one, two]) await writeMuch(organizationId)
  const open: net.Socket[] = []
  const leaveAll = () => {
    for (const socket of open.splice(0)) socket.destroy()
  }
  /** Until a server has heard of it. */
  const hold = async (path: string, { headers }: { readonly headers: Headers }) => {
    const socket = await askUnread(path, headers)
    open.push(socket)
    const text = await take(socket, 12)
    return text.slice(9, 12)
  }
  const refused = async (path: string, headers: Headers) => {
    const answer = await api.call({ path, headers })
    const { errors } = errorSchema.parse(answer.json())
    assert.ok(Number(answer.headers['retry-after']) > 0)
    return [answer.status, errors[0]]
  }
  try {
    for (let n = 0; n < 4; n += 1) assert.equal(await hold(followPath, one), '200')
    assert.deepEqual(await refused(followPath, two.headers), [
      503,
      'As many feeds are followed as the server allows. Try again, or ask without follow.',
    ])
    assert.equal(await hold(exportPath, one), '200')
    assert.equal(await hold(changesPath, one), '200')
    for (const path of [exportPath, changesPath, followPath])
      assert.deepEqual(await refused(path, one.headers), [
        429,
        'Your organisation reads as many streams of entities as it may. End some, or try again.',
      ])
    for (let n = 0; n < 2; n += 1) assert.equal(await hold(exportPath, two), '200')
    assert.deepEqual(await refused(exportPath, two.headers), [
      503,
      'As many streams of entities are read as the server allows. Try again.',
    ])
    leaveAll()
    await wait(200)
    assert.equal(await statusOf(exportPath, two.headers), 200)
    assert.equal(await statusOf(followPath, one.headers), 200)
  } finally {
    leaveAll()
  }
})

test('whoever takes nothing for too long is disconnected, also when it goes on sending; a slow reader is not', async (t) => {
  const { organizationId, headers } = await makeKeys()
  await writeMuch(organizationId)
  const silent = await askUnread(exportPath, headers)
  const sending = await askUnread(exportPath, headers)
  const slow = await askUnread(exportPath, { ...headers, connection: 'close' })
  const dribble = setInterval(() => sending.write('GET /'), 500)
  t.after(() => {
    clearInterval(dribble)
    for (const socket of [silent, sending, slow]) socket.destroy()
  })
  const begunAt = performance.now()
  let heard = ''
  while (!slow.closed) {
    heard += await take(slow, 3_000_000)
    await wait(unreadMs / 4)
  }
  assert.equal(heard.match(/"uid":"p\d+"/g)?.length, 1_000)
  assert.ok(performance.now() - begunAt > unreadMs, 'it took longer than others may take nothing')
  const cutOff = () => api.log().split('its reader took nothing of it').length - 1
  while (cutOff() < 2) {
    assert.ok(performance.now() - begunAt < unreadMs + 20_000, 'waited for both to be cut off')
    await wait(100)
  }
  assert.equal(cutOff(), 2)
})

test('a piece of lines is small, however long they are', async () => {
  const { organizationId } = await makeKeys()
  await writeMuch(organizationId)
  const now = new Date()
  const lengths: number[] = []
  for await (const piece of exportedLines(
    api.database.query,
    { organizationId, kinds: ['identity'], format: 'credence', withRaw: false },
    { at: now.toISOString(), ms: now.getTime() },
  ))
    lengths.push(piece.length)
  // How long they are is not known before the first.
  assert.ok(Math.max(...lengths.slice(1)) < 100_000, String(lengths.slice(0, 3)))
})
