import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import {
  chmod,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, type TestContext, test } from 'node:test'
import pg from 'pg'
import { ScramClient } from './client.ts'
import { type EmbeddedPostgres, openEmbeddedPostgres } from './embedded-postgres.ts'

const isRoot = process.getuid?.() === 0
const isLinux = process.platform === 'linux'
const doorUrl = new URL('./embedded-postgres.ts', import.meta.url).href

const folders: string[] = []
const children: ChildProcess[] = []
after(async () => {
  for (const child of children) child.kill('SIGKILL')
  for (const folder of folders) {
    const server = await serverOf(folder)
    if (server !== undefined) process.kill(server, 'SIGQUIT')
    await rm(folder, { recursive: true, force: true, maxRetries: 10 })
  }
})

const newFolder = async (parent = tmpdir()) => {
  const folder = await mkdtemp(join(parent, 'credence-embedded-'))
  folders.push(folder)
  return folder
}

/** A cluster that was stopped, to copy from: making one anew takes most of the time. */
const made = newFolder().then(async (folder) => {
  const postgres = await openEmbeddedPostgres(folder)
  await postgres.stop()
  return folder
})

const newDatabase = async () => {
  const folder = await newFolder()
  await cp(await made, folder, { recursive: true })
  return folder
}

const clusterOf = (folder: string) => join(folder, 'postgres', 'cluster')

/** Process number of the server of `folder`, if one is alive. */
async function serverOf(folder: string): Promise<number | undefined> {
  const text = await readFile(join(clusterOf(folder), 'postmaster.pid'), 'utf8').catch(() => '')
  const pid = Number(text.split('\n')[0])
  return pid > 0 && (await readlink(`/proc/${pid}/cwd`).catch(() => '')) === clusterOf(folder)
    ? pid
    : undefined
}

async function query(postgres: EmbeddedPostgres, text: string, values: unknown[] = []): Promise<unknown[]> {
  const client = new postgres.Client()
  await client.connect()
  try {
    return (await client.query({ text, values, rowMode: 'array' })).rows.flat()
  } finally {
    await client.end()
  }
}

/** Asks until it is answered: for a server that is being started anew. */
async function queryWhenBack(postgres: EmbeddedPostgres, text: string): Promise<unknown[]> {
  const givesUpAt = Date.now() + 60_000
  for (;;) {
    try {
      return await query(postgres, text)
    } catch (error) {
      if (Date.now() > givesUpAt) throw error
    }
  }
}

/** Another process that opens `folder`, tells that it has, and does `then`; `stop` has it stop and end. */
async function inOtherProcess(folder: string, then = '') {
  const child = spawn(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `const { openEmbeddedPostgres } = await import(${JSON.stringify(doorUrl)})
       process.stdin.once('data', async () => { await opened; await postgres.stop(); process.exit() })
       let postgres
       const opened = openEmbeddedPostgres(process.argv[1]).then((one) => { postgres = one })
       await opened
       console.log(JSON.stringify({ adopted: postgres.adopted, port: postgres.connection.port }))
       ${then}`,
      folder,
    ],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, CREDENCE_VAULT_KEY: 'canary-in-the-environment' },
    },
  )
  children.push(child)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const first = await lines.next()
  return {
    ...(JSON.parse(first.value ?? '{}') as { adopted: boolean; port: number }),
    lines,
    stop: async () => {
      child.stdin.write('stop\n')
      if (child.exitCode === null) await once(child, 'exit')
    },
    kill: async () => {
      child.kill('SIGKILL')
      if (child.signalCode === null) await once(child, 'exit')
    },
  }
}

test('what was written before a stop is there after the next start', async () => {
  const folder = await newFolder()
  const first = await openEmbeddedPostgres(folder)
  await query(first, 'create table kept as select 42 as number')
  await first.stop()
  assert.equal(await serverOf(folder), undefined)

  const second = await openEmbeddedPostgres(folder)
  assert.deepEqual(await query(second, 'select number from kept'), [42])
  assert.equal(second.adopted, false)
  await second.stop()
})

test('two processes that open one new directory at once both work, and the last one out stops it', async () => {
  const folder = await newFolder()
  const [one, other] = await Promise.all([inOtherProcess(folder), inOtherProcess(folder)])
  assert.equal(one.port, other.port)
  assert.deepEqual([one.adopted, other.adopted].sort(), [false, true])

  await one.stop()
  assert.notEqual(await serverOf(folder), undefined, 'the other still uses it, though it has asked nothing')
  await other.stop()
  assert.equal(await serverOf(folder), undefined)
})

test('two that stop at once leave nothing running', async () => {
  const folder = await newDatabase()
  const [one, other] = await Promise.all([openEmbeddedPostgres(folder), openEmbeddedPostgres(folder)])
  await Promise.all([one.stop(), other.stop()])
  assert.equal(await serverOf(folder), undefined)
})

test('a server whose parent was killed is adopted', async () => {
  const folder = await newDatabase()
  const other = await inOtherProcess(folder)
  await other.kill()

  const postgres = await openEmbeddedPostgres(folder)
  assert.equal(postgres.adopted, true)
  assert.equal(postgres.connection.port, other.port)
  assert.deepEqual(await query(postgres, 'select 1'), [1])
  await postgres.stop()
  assert.equal(await serverOf(folder), undefined)
})

test('a server that is killed is started anew, with what it had acknowledged, at the same port', async () => {
  const folder = await newDatabase()
  const postgres = await openEmbeddedPostgres(folder)
  const { port } = postgres.connection
  await query(postgres, 'create table kept as select 42 as number')
  // Asks nothing of the system until it is done, so that it does not notice that its server is gone.
  const busy = query(postgres, 'select count(*) from generate_series(1, 1e12::bigint)').catch(() => undefined)
  process.kill((await serverOf(folder)) ?? 0, 'SIGKILL')

  assert.deepEqual(await queryWhenBack(postgres, 'select number from kept'), [42])
  assert.equal(postgres.connection.port, port)
  await busy
  await postgres.stop()
  assert.equal(await serverOf(folder), undefined)
})

test('two processes that lose their server have one again, and the last one out stops it', async () => {
  const folder = await newDatabase()
  const [other, postgres] = [await inOtherProcess(folder), await openEmbeddedPostgres(folder)]
  process.kill((await serverOf(folder)) ?? 0, 'SIGKILL')
  assert.deepEqual(await queryWhenBack(postgres, 'select 1'), [1])
  // It may be stopped by the other before this one has shown itself on it, and is then started once more.
  await other.stop()
  assert.deepEqual(await queryWhenBack(postgres, 'select 1'), [1])
  await postgres.stop()
  assert.equal(await serverOf(folder), undefined)
})

test('the next start recovers when parent and server were killed', async () => {
  const folder = await newDatabase()
  const other = await inOtherProcess(folder)
  const server = (await serverOf(folder)) ?? 0
  await other.kill()
  process.kill(server, 'SIGKILL')

  const postgres = await openEmbeddedPostgres(folder)
  assert.deepEqual(await query(postgres, 'select 1'), [1])
  await postgres.stop()
})

test('no acknowledged write is lost when writer and server are killed at any moment', async () => {
  const folder = await newDatabase()
  const setUp = await openEmbeddedPostgres(folder)
  await query(setUp, 'create table writes (number int primary key)')
  await setUp.stop()
  const acknowledged: number[] = []
  for (let round = 0; round < 4; round++) {
    const writer = await inOtherProcess(
      folder,
      `const client = new postgres.Client()
       await client.connect()
       for (let number = ${round * 1_000_000}; ; number++) {
         await client.query('insert into writes values ($1)', [number])
         process.stdout.write(number + '\\n')
       }`,
    )
    const enough = 1 + Math.floor(Math.random() * 200)
    for (let seen = 0; seen < enough; seen++) acknowledged.push(Number((await writer.lines.next()).value))
    const server = (await serverOf(folder)) ?? 0
    if (round % 2 === 0) process.kill(server, 'SIGKILL')
    await writer.kill()
    if (round % 2 === 1) process.kill(server, 'SIGKILL')
    for (let line = await writer.lines.next(); line.done !== true; line = await writer.lines.next()) {
      acknowledged.push(Number(line.value))
    }
  }
  const postgres = await openEmbeddedPostgres(folder)
  const kept = new Set(await query(postgres, 'select number from writes'))
  await postgres.stop()
  assert.deepEqual(
    acknowledged.filter((number) => !kept.has(number)),
    [],
  )
})

test('a start that was killed while it made the cluster is made up for by the next', async () => {
  const folder = await newFolder()
  const starting = inOtherProcess(folder)
  const home = join(folder, 'postgres')
  const isHalf = async () =>
    (await readdir(home).catch(() => [])).some(
      (name) => name.includes('.half-') && !name.endsWith('.password'),
    )
  while (!(await isHalf())) await new Promise(setImmediate)
  children.at(-1)?.kill('SIGKILL')
  await starting

  const postgres = await openEmbeddedPostgres(folder)
  assert.deepEqual(await query(postgres, 'select 1'), [1])
  await postgres.stop()
  assert.equal((await readdir(home)).filter((name) => name.endsWith('.password')).length, 0)
})

test('a lock file that names a process of someone else is no server', async () => {
  const folder = await newDatabase()
  await writeFile(
    join(clusterOf(folder), 'postmaster.pid'),
    `${process.pid}\n${clusterOf(folder)}\n1\n1\n\n127.0.0.1\n\nready\n`,
    { mode: 0o600 },
  )
  const postgres = await openEmbeddedPostgres(folder)
  assert.equal(postgres.adopted, false)
  await postgres.stop()
})

test('a data directory of another major version is named, with the way across', async () => {
  const folder = await newDatabase()
  await writeFile(join(clusterOf(folder), 'PG_VERSION'), '17\n')
  await assert.rejects(
    openEmbeddedPostgres(folder),
    /written by PostgreSQL 17, and this release has PostgreSQL 18; .*credence backup.*credence restore/,
  )
})

test('a file in the place of the data directory is named', async () => {
  const folder = await newFolder()
  await writeFile(join(folder, 'postgres'), '')
  await assert.rejects(openEmbeddedPostgres(folder), {
    name: 'EmbeddedPostgresError',
    message: /there is a file in its place \(EEXIST\)/,
  })
  await assert.rejects(openEmbeddedPostgres(join(folder, 'postgres')), {
    message: /there is a file in its place \(ENOTDIR\)/,
  })
})

test('a directory that the user may not write to is named', { skip: !isRoot }, async () => {
  const folder = await newFolder()
  await chmod(folder, 0o755)
  const said = execFileSync(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `const { openEmbeddedPostgres } = await import(${JSON.stringify(doorUrl)})
       process.setgid(65534); process.setuid(65534)
       await openEmbeddedPostgres(process.argv[1]).catch((error) => console.log(error.message))`,
      folder,
    ],
    { encoding: 'utf8' },
  )
  assert.match(said, /this user may not write there \(EACCES\)/)
})

for (const [what, harm] of [
  ['damaged', (notes: string) => writeFile(notes, '{"cluster":')],
  ['lost', (notes: string) => rm(notes)],
] as const) {
  test(`notes that are ${what} are made anew, also while the server runs`, async () => {
    const folder = await newDatabase()
    const notes = join(folder, 'postgres', 'notes.json')
    const other = await inOtherProcess(
      folder,
      `await (async () => {
      const client = new postgres.Client()
      await client.connect()
      await client.query('create table kept as select 42 as number')
      console.log('written')
    })()`,
    )
    await other.lines.next()
    await other.kill()
    await harm(notes)

    const postgres = await openEmbeddedPostgres(folder)
    assert.deepEqual(await query(postgres, 'select number from kept'), [42])
    await postgres.stop()
    assert.equal((await stat(notes)).mode & 0o777, 0o600)
  })
}

test('a database that its notes name and that is gone is not replaced by an empty one', async () => {
  const folder = await newDatabase()
  await rm(clusterOf(folder), { recursive: true })
  await assert.rejects(
    openEmbeddedPostgres(folder),
    /is not in .*cluster: move it back there, or restore a backup/,
  )
})

test('a port that was taken meanwhile is left to who has it', async () => {
  const folder = await newDatabase()
  const { port } = JSON.parse(await readFile(join(folder, 'postgres', 'notes.json'), 'utf8'))
  const taker = createServer((socket) => socket.destroy()).listen(port, '127.0.0.1')
  await once(taker, 'listening')
  const postgres = await openEmbeddedPostgres(folder)
  assert.notEqual(postgres.connection.port, port)
  assert.deepEqual(await query(postgres, 'select 1'), [1])
  await postgres.stop()
  taker.close()
})

test('a copy beside the original is a database of its own', async () => {
  const [original, copy] = [await newDatabase(), await newFolder()]
  await cp(original, copy, { recursive: true })
  const first = await openEmbeddedPostgres(original)
  const second = await openEmbeddedPostgres(copy)
  await query(second, 'create table here as select 1')
  assert.deepEqual(await query(first, `select to_regclass('here')`), [null])
  await Promise.all([first.stop(), second.stop()])
})

test('a directory that was moved, with its rights lost on the way, works at its new place', async () => {
  const [folder, parent] = [await newDatabase(), await newFolder()]
  const before = await openEmbeddedPostgres(folder)
  await query(before, 'create table kept as select 42 as number')
  await before.stop()
  await chmod(parent, 0o755)
  const moved = join(parent, 'moved')
  await rename(folder, moved)
  await chmod(clusterOf(moved), 0o755)
  if (isRoot) execFileSync('chown', ['-R', 'root', clusterOf(moved)])

  const after = await openEmbeddedPostgres(moved)
  assert.deepEqual(await query(after, 'select number from kept'), [42])
  await after.stop()
})

test('as root, the cluster leaves a place that others cannot reach', {
  skip: !isRoot,
}, async (t: TestContext) => {
  const hidden = await newFolder('/root')
  if (((await stat('/root')).mode & 0o001) !== 0) return t.skip('/root is open here')
  const postgres = await openEmbeddedPostgres(hidden)
  await query(postgres, 'create table kept as select 42 as number')
  const cluster = await readlink(clusterOf(hidden))
  assert.match(cluster, /^\/var\/lib\/credence\/[0-9a-f]{16}$/)
  await postgres.stop()

  const moved = join(await newFolder('/root'), 'moved')
  await rename(hidden, moved)
  const again = await openEmbeddedPostgres(moved)
  assert.deepEqual(await query(again, 'select number from kept'), [42])
  await again.stop()

  // Whoever deletes the data directory and makes it again wants a new one.
  await rm(moved, { recursive: true })
  const anew = await openEmbeddedPostgres(moved)
  assert.deepEqual(await query(anew, `select to_regclass('kept')`), [null])
  await anew.stop()
  for (const place of [cluster, await readlink(clusterOf(moved))]) await rm(place, { recursive: true })
})

test('the server sees no key, opens no socket file, and lets nobody in without a password', async () => {
  const folder = await newDatabase()
  const other = await inOtherProcess(folder)
  const postgres = await openEmbeddedPostgres(folder)
  const pid = (await serverOf(folder)) ?? 0

  if (isLinux && isRoot) {
    const environment = (await readFile(`/proc/${pid}/environ`, 'utf8')).split('\0').filter(Boolean)
    assert.deepEqual(environment.map((pair) => pair.split('=')[0]).sort(), ['LC_ALL', 'PATH', 'TZ'])
    assert.notEqual((await stat(`/proc/${pid}`)).uid, 0)
  }
  assert.equal(existsSync(`/tmp/.s.PGSQL.${postgres.connection.port}`), false)
  const rules = (await readFile(join(clusterOf(folder), 'pg_hba.conf'), 'utf8'))
    .split('\n')
    .filter((line) => /^\s*[a-z]/.test(line))
  assert.ok(rules.length > 0)
  assert.deepEqual(
    rules.filter((line) => !line.trimEnd().endsWith('scram-sha-256')),
    [],
  )
  assert.deepEqual(
    await query(
      postgres,
      'select rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls from pg_roles where rolname = current_user',
    ),
    [false, false, false, false, false],
  )
  const home = join(folder, 'postgres')
  assert.deepEqual(
    (await readdir(home)).filter((name) => name.includes('password')),
    [],
  )
  assert.equal((await stat(join(home, 'notes.json'))).mode & 0o777, 0o600)
  assert.equal((await stat(join(home, 'postgres.log'))).mode & 0o777, 0o600)
  assert.equal((await stat(clusterOf(folder))).mode & 0o777, 0o700)
  await postgres.stop()
  await other.stop()
})

test('values of statements that fail are not in its log', async () => {
  const folder = await newDatabase()
  const postgres = await openEmbeddedPostgres(folder)
  await assert.rejects(query(postgres, `select 'canary-4711'::uuid`))
  await assert.rejects(query(postgres, 'select $1::int', ['canary-4711']))
  await postgres.stop()
  assert.doesNotMatch(await readFile(join(folder, 'postgres', 'postgres.log'), 'utf8'), /canary-4711/)
})

test('its log is put aside once it has grown', async () => {
  const folder = await newDatabase()
  const log = join(folder, 'postgres', 'postgres.log')
  await writeFile(log, Buffer.alloc(16 * 1024 * 1024 + 1, 10))
  const postgres = await openEmbeddedPostgres(folder)
  await postgres.stop()
  assert.ok((await stat(log)).size < 100_000)
  assert.ok((await stat(`${log}.1`)).size > 16 * 1024 * 1024)
})

/** Listens where a server was and asks for authentication of that kind; tells what it was sent for it. */
async function impostor(kind: number): Promise<{ port: number; sent: Promise<string> }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const sent = once(server, 'connection').then(async ([socket]) => {
    await once(socket, 'data')
    const salt = kind === 5 ? [1, 2, 3, 4] : []
    socket.write(Buffer.from([0x52, 0, 0, 0, 8 + salt.length, 0, 0, 0, kind, ...salt]))
    const [answer] = await Promise.race([once(socket, 'data'), once(socket, 'close')])
    socket.destroy()
    server.close()
    return Buffer.isBuffer(answer) ? answer.toString('latin1') : ''
  })
  const address = server.address()
  return { port: typeof address === 'object' ? (address?.port ?? 0) : 0, sent }
}

for (const [how, kind] of [
  ['in plain', 3],
  ['as MD5', 5],
] as const) {
  test(`who listens at the port of a dead server and asks for the password ${how} does not get it`, async () => {
    const forOurs = await impostor(kind)
    const ours = new ScramClient({ ...forOurs, host: '127.0.0.1', user: 'credence', password: 'canary' })
    await assert.rejects(ours.connect(), /it is not ours/)
    assert.equal(await forOurs.sent, '')
    // pg itself answers: the request was understood.
    const forTheirs = await impostor(kind)
    const theirs = new pg.Client({ ...forTheirs, host: '127.0.0.1', user: 'credence', password: 'canary' })
    theirs.on('error', () => undefined)
    await theirs.connect().catch(() => undefined)
    assert.match(await forTheirs.sent, kind === 3 ? /canary/ : /md5[0-9a-f]{32}/)
  })
}

test('a full disk is named, and once there is space again the database is whole', {
  skip: !isRoot,
}, async (t: TestContext) => {
  const folder = await newFolder()
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=180m,mode=755', 'tmpfs', folder], { stdio: 'ignore' })
  } catch {
    return t.skip('nothing can be mounted here')
  }
  try {
    const filler = join(folder, 'filler')
    const fill = () =>
      execFileSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=64k', 'oflag=append', 'conv=notrunc'], {
        stdio: 'ignore',
      })
    await mkdir(join(folder, 'postgres'))
    assert.throws(fill)
    await assert.rejects(openEmbeddedPostgres(folder), /the disk is full/)
    await rm(filler)

    const postgres = await openEmbeddedPostgres(folder)
    await query(postgres, 'create table kept (number int, filling text)')
    await query(postgres, 'insert into kept values (42, null)')
    assert.throws(fill)
    await assert.rejects(
      query(
        postgres,
        `insert into kept select n, repeat(md5(n::text), 60) from generate_series(1, 100000) n`,
      ),
    )
    await rm(filler)
    assert.deepEqual(await queryWhenBack(postgres, 'select number from kept'), [42])
    await postgres.stop()
  } finally {
    execFileSync('umount', ['-l', folder])
  }
})
