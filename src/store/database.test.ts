import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { after, test } from 'node:test'
import { promisify } from 'node:util'
import { sql } from 'kysely'
import { newWay } from '../../test/database-way.ts'
import { emptyDatabaseUrl, freshDatabaseUrl, server } from '../../test/fresh-database.ts'
import { addressOf } from '../../test/postgres-server.ts'
import { type Database, inTransaction, isUnavailable, openDatabase } from './database.ts'
import { migrate, migrations } from './migrate.ts'

const open: Database[] = []
after(() => Promise.all(open.map((database) => database.close())))

async function openOn(url: string, options: { poolSize?: number; statementTimeoutMs?: number } = {}) {
  const database = await openDatabase({ url, dataDirectory: '/nowhere', ...options })
  open.push(database)
  return database
}

const addOrganization = (database: Pick<Database, 'query'>, name: string) =>
  database.query.insertInto('organizations').values({ name }).execute()

const organizations = async ({ query }: Database) =>
  (await query.selectFrom('organizations').select('name').orderBy('name').execute()).map(({ name }) => name)

const raise = (state: string) => sql`do $$ begin raise exception using errcode = ${sql.lit(state)}; end $$`

test('of several nodes that start at once on an empty database, each works and one migrates', async () => {
  const url = await emptyDatabaseUrl()
  const program = `const { openDatabase } = await import(${JSON.stringify(new URL('./database.ts', import.meta.url).href)})
    const database = await openDatabase({ url: process.argv[1], dataDirectory: '/nowhere' })
    await database.query.selectFrom('organizations').selectAll().execute()
    await database.close()
    console.log('worked')`
  const nodes = await Promise.all(
    Array.from({ length: 4 }, () =>
      promisify(execFile)(process.execPath, ['--input-type=module', '-e', program, url]),
    ),
  )
  assert.deepEqual(
    nodes.map(({ stdout }) => stdout.trim()),
    ['worked', 'worked', 'worked', 'worked'],
  )
  const database = await openOn(url)
  const { rows } = await database.pool.query('select name from schema_migrations order by name')
  assert.deepEqual(
    rows.map((row) => row.name),
    Object.keys(migrations),
  )
})

test('a migration lets others pass while a reader holds what it needs, and is done when the reader is', async () => {
  const url = await freshDatabaseUrl()
  const database = await openOn(url)
  const reader = await database.pool.connect()
  await reader.query('begin')
  await reader.query('select from organizations')

  let isDone = false
  const migrating = migrate(database.query, {
    ...migrations,
    '9999-wider': {
      up: async (query) => void (await sql`alter table organizations add column wider int`.execute(query)),
    },
  }).then(() => {
    isDone = true
  })
  const waiting = async () =>
    (
      await database.pool.query(
        `select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`,
      )
    ).rowCount ?? 0
  while ((await waiting()) === 0);
  // Comes after the migration in the queue for the table: answered because that one gives up its place.
  assert.deepEqual(await organizations(database), [])
  assert.equal(isDone, false)

  await reader.query('commit')
  reader.release()
  await migrating
  await database.pool.query('select wider from organizations')
})

test('a migration that fails leaves everything as it was, and names itself', async () => {
  const database = await openOn(await freshDatabaseUrl())
  await addOrganization(database, 'acme')
  await assert.rejects(
    migrate(database.query, {
      ...migrations,
      '9998-first': {
        up: async (query) => void (await sql`alter table organizations add column wider int`.execute(query)),
      },
      '9999-second': { up: async (query) => void (await sql`select 1 / 0`.execute(query)) },
    }),
    { name: 'DatabaseUnavailable', message: /9999-second .*failed \(22012\); nothing was changed/ },
  )
  assert.deepEqual(await organizations(database), ['acme'])
  await assert.rejects(database.pool.query('select wider from organizations'))
  await migrate(database.query)
})

test('a database of a newer release is named, and serves who has it open', async () => {
  const url = await freshDatabaseUrl()
  const older = await openOn(url)
  await migrate(older.query, { ...migrations, '9999-newer': { up: async () => undefined } })
  await assert.rejects(openOn(url), {
    name: 'DatabaseUnavailable',
    message: /belongs to a newer release: it has 9999-newer/,
  })
  await addOrganization(older, 'acme')
  assert.deepEqual(await organizations(older), ['acme'])
})

test('a pooler that gives each transaction another session can stand between', async (t) => {
  const way = await newWay(t)
  const database = await openOn(way.through(await emptyDatabaseUrl()))
  await inTransaction(database, (transaction) => addOrganization({ query: transaction }, 'acme'))

  const sent = way.sent()
  // Whatever else PgBouncer refuses at the start of a session.
  const parameters = /^.{8}((?:[^\0]+\0[^\0]*\0)+)\0/s.exec(sent)?.[1]?.split('\0') ?? []
  assert.deepEqual(parameters.filter((_, index) => index % 2 === 0 && parameters[index] !== '').sort(), [
    'application_name',
    'client_encoding',
    'database',
    'user',
  ])
  assert.doesNotMatch(sent, /pg_advisory_lock|pg_advisory_unlock|\blisten\b/i)
  assert.doesNotMatch(sent, /\bset (?!config)(?!local)[a-z_]+ *(?:=|to)/i)
  assert.match(sent, /set_config\('lock_timeout', \$1, true\)/)
})

test('a transaction whose session is ended is done again, whole, on another', async () => {
  const database = await openOn(await freshDatabaseUrl())
  let attempts = 0
  await inTransaction(database, async (transaction) => {
    attempts++
    await addOrganization({ query: transaction }, `acme ${attempts}`)
    if (attempts > 1) return
    const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(transaction)
    await database.pool.query('select pg_terminate_backend($1)', [rows[0]?.pid])
    await addOrganization({ query: transaction }, 'never')
  })
  assert.deepEqual(await organizations(database), ['acme 2'])
})

for (const state of ['40001', '40P01']) {
  test(`a transaction that ends with ${state} is done again, whole`, async () => {
    const database = await openOn(await freshDatabaseUrl())
    let attempts = 0
    await inTransaction(database, async (transaction) => {
      attempts++
      await addOrganization({ query: transaction }, `acme ${attempts}`)
      if (attempts < 4) await raise(state).execute(transaction)
    })
    assert.deepEqual(await organizations(database), ['acme 4'])
  })
}

test('a transaction that is refused at its commit because it met another is done again', async () => {
  const database = await openOn(await freshDatabaseUrl())
  await database.pool.query(`
    create sequence commits;
    create function meet_another() returns trigger language plpgsql as $$
      begin if nextval('commits') < 3 then raise exception using errcode = '40001'; end if; return null; end $$;
    create constraint trigger met after insert on organizations deferrable initially deferred
      for each row execute function meet_another()`)
  let attempts = 0
  await inTransaction(database, async (transaction) => {
    attempts++
    await addOrganization({ query: transaction }, `acme ${attempts}`)
  })
  assert.deepEqual(await organizations(database), ['acme 3'])
})

for (const when of ['before', 'after'] as const) {
  test(`a commit that is lost ${when} it arrived is reported as unknown and not done again`, async (t) => {
    const way = await newWay(t)
    const database = await openOn(way.through(await freshDatabaseUrl()))
    let attempts = 0
    const changing = inTransaction(database, async (transaction) => {
      attempts++
      await addOrganization({ query: transaction }, 'acme')
      way.cutAt('commit', when)
    })
    await assert.rejects(changing, { name: 'DatabaseUnavailable', code: 'commit_unknown' })
    assert.equal(attempts, 1)
    // The next one works again.
    assert.deepEqual(await organizations(database), when === 'before' ? [] : ['acme'])
  })
}

test('an error of the work itself undoes the transaction and is passed on', async () => {
  const database = await openOn(await freshDatabaseUrl())
  let attempts = 0
  await assert.rejects(
    inTransaction(database, async (transaction) => {
      attempts++
      await addOrganization({ query: transaction }, 'acme')
      await addOrganization({ query: transaction }, 'acme')
    }),
    (error) => !isUnavailable(error) && (error as { code?: string }).code === '23505',
  )
  assert.equal(attempts, 1)
  assert.deepEqual(await organizations(database), [])
})

test('a database that goes away is unavailable, and works again when it is back', async (t) => {
  const way = await newWay(t)
  const database = await openOn(way.through(await freshDatabaseUrl()))
  await addOrganization(database, 'acme')
  await way.close()
  await assert.rejects(organizations(database), isUnavailable)
  await assert.rejects(database.ping(), { name: 'DatabaseUnavailable', message: /\(ECONNREFUSED\)/ })
  await way.reopen()
  assert.deepEqual(await organizations(database), ['acme'])
})

test('sessions that are all ended at once do not end the process, and the next query works', async () => {
  const url = await freshDatabaseUrl()
  const database = await openOn(url)
  await Promise.all(Array.from({ length: 5 }, () => organizations(database)))
  const other = await openOn(await freshDatabaseUrl())
  await other.pool.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [
    new URL(url).pathname.slice(1),
  ])
  await once(database.pool, 'error')
  assert.deepEqual(
    await inTransaction(database, (query) => query.selectFrom('organizations').selectAll().execute()),
    [],
  )
})

test('a socket that nobody answers on holds neither a request nor the ones after it', async (t) => {
  const way = await newWay(t)
  const database = await openOn(way.through(await freshDatabaseUrl()), {
    poolSize: 1,
    statementTimeoutMs: 300,
  })
  await addOrganization(database, 'acme')
  way.stall()
  await assert.rejects(
    inTransaction(database, (query) => query.selectFrom('organizations').selectAll().execute()),
    { name: 'DatabaseUnavailable', code: 'query_timeout' },
  )
  await way.close()
  await way.reopen()
  assert.deepEqual(await organizations(database), ['acme'])
})

test('who finds all connections in use is told so after a while', async () => {
  const database = await openOn(await freshDatabaseUrl(), { poolSize: 1 })
  const held = await database.pool.connect()
  await assert.rejects(organizations(database), { name: 'DatabaseUnavailable', code: 'no_connection_free' })
  held.release()
  assert.deepEqual(await organizations(database), [])
})

test('closing does not wait for a statement that goes on and on', async () => {
  const url = await freshDatabaseUrl()
  const [database, other] = [await openOn(url), await openOn(url)]
  const running = assert.rejects(sql`select pg_sleep(100)`.execute(database.query), isUnavailable)
  const sleeping = 'select from pg_stat_activity where datname = current_database() and wait_event = $1'
  while ((await other.pool.query(sleeping, ['PgSleep'])).rowCount === 0);
  await database.close()
  await running
})

test('an address that does not work is told without its password', async () => {
  const existing = new URL(server.url)
  existing.password = 'canary-password'
  const stranger = new URL(existing)
  stranger.username = 'no_such_user'
  for (const [url, said] of [
    ['mysql://root:canary-password@host/x', /expected an address such as postgres:/],
    ['postgres://root:canary-password@[/x', /expected an address such as postgres:/],
    ['postgres://root:canary-password@127.0.0.1:1/x', /nothing listens .*ECONNREFUSED/],
    [addressOf(server.url, 'credence_no_such_database'), /of that name does not exist \(3D000\)/],
    [`${existing.href}?sslmode=verify-full`, /offers no TLS/],
    // 28000 is of a server that asks nobody of this machine for a password.
    [stranger.href, /refuses the user .*\((?:28P01|28000)\)/],
  ] as const) {
    await assert.rejects(openDatabase({ url, dataDirectory: '/nowhere' }), (error: Error) => {
      assert.equal(error.name, 'DatabaseUnavailable')
      assert.match(error.message, said)
      assert.doesNotMatch(`${error.message} ${error.stack} ${JSON.stringify(error)}`, /canary-password/)
      return true
    })
  }
})
