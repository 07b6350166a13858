/** Several nodes on one database: each job runs once, and what a node loses is neither lost nor done twice. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newWay } from './database-way.ts'
import { emptyDatabaseUrl, freshDatabaseUrl, server } from './fresh-database.ts'
import { startWorld, until, type World } from './jobs-world.ts'
import { administer } from './postgres-server.ts'

test('three nodes validate each of many configurations once', async (t) => {
  const world = await startWorld(t)
  const ids: string[] = []
  for (let n = 0; n < 30; n += 1) ids.push(await world.config(`valid-${n}`))
  for (const id of ids) await world.makeDue(id)
  world.provider.seen.length = 0
  await Promise.all([world.spawn(), world.spawn(), world.spawn()])
  await until(async () => {
    const rows = await Promise.all(ids.map((id) => world.read(id)))
    return rows.every((row) => (row.next_validation_at?.getTime() ?? 0) > Date.now() + 3_600_000)
  })
  assert.equal(world.provider.seen.length, ids.length)
  assert.equal(new Set(world.provider.seen).size, ids.length)
})

test('what a killed node was working on is taken over', async (t) => {
  const world = await startWorld(t)
  const id = await world.config('valid')
  await world.makeDue(id)
  const [first] = [await world.spawn()]
  world.provider.behave(() => 'hang')
  await until(() => world.provider.held() === 1)
  first.child.kill('SIGKILL')
  await first.ended
  world.provider.behave(() => 401)
  await Promise.all([world.spawn(), world.spawn()])
  await world.silence()
  await until(async () => (await world.read(id)).state === 'invalid')
  assert.equal((await world.audit('integration_config.state')).length, 1)
})

test('a node that was stopped, replaced and wakes up again writes nothing', async (t) => {
  const world = await startWorld(t)
  await world.webhook()
  const id = await world.config('valid')
  world.provider.behave(() => 'hang')
  await world.makeDue(id)
  const stalled = await world.spawn()
  await until(() => world.provider.held() === 1)
  stalled.child.kill('SIGSTOP')

  await world.spawn()
  await world.silence()
  await until(() => world.provider.held() === 2)
  const before = await world.read(id)
  // What the stalled node will read, and what its successor does not.
  world.provider.release(401, 1)
  stalled.child.kill('SIGCONT')
  await stalled.line(/another node has taken a job over/)
  assert.deepEqual(await world.read(id), before)
  assert.deepEqual(await world.audit('integration_config.state'), [])

  world.provider.release(200)
  const after = await until(async () => {
    const row = await world.read(id)
    return row.validated_at?.getTime() !== before.validated_at?.getTime() ? row : undefined
  })
  assert.equal(after.state, 'valid')
  // Its creation alone.
  assert.equal((await world.deliveries()).length, 1)
})

test('a verdict that comes when the job is in other hands is not kept, nor told', async (t) => {
  const world = await startWorld(t)
  await world.webhook()
  const id = await world.config('valid')
  world.provider.behave(() => 'hang')
  await world.makeDue(id)
  await (await world.node.start()).started
  await until(() => world.provider.held() === 1)
  // Another node has begun the job again.
  await world.database.pool.query(
    `update pgboss.job set retry_count = retry_count + 1 where state = 'active' and name like 'validation.%'`,
  )
  const before = await world.read(id)
  world.provider.release(401)
  await until(() => /another node has taken a job over/.test(world.log()))
  assert.deepEqual(await world.read(id), before)
  // The message of the configuration's making may be on its way as a job of its own.
  const { rows } = await world.database.pool.query(
    `select state from pgboss.job where name like 'validation.%'`,
  )
  assert.deepEqual(rows, [{ state: 'active' }])
  assert.equal((await world.deliveries()).length, 1)
  assert.deepEqual(await world.audit('integration_config.state'), [])
})

test('a validation that ends its process three times is set aside with its cause; the others go on', async (t) => {
  const world = await startWorld(t)
  await world.webhook(['integration_config.validation_unclear'])
  const deadly = await world.config('kill')
  await world.makeDue(deadly)
  for (let death = 0; death < 3; death += 1) {
    const node = await world.spawn({ deadly: 'kill' }).catch(() => undefined)
    await (node?.ended ?? until(async () => (await world.activeJobs()) === 1))
    await world.silence()
  }
  const good = await world.config('valid')
  world.provider.behave(() => 401)
  await world.makeDue(good)
  await world.spawn({ deadly: 'kill' })
  await until(async () => (await world.read(good)).state === 'invalid')
  const [event] = await until(async () => {
    const events = await world.audit('integration_config.set_aside')
    return events.length > 0 ? events : undefined
  })
  assert.equal(event?.target, deadly)
  assert.partialDeepStrictEqual(event?.details, { causes: ['process_ended'], validations: 3 })
  const row = await world.read(deadly)
  assert.equal(row.next_validation_at, null)
  assert.equal(row.state, 'valid')
  const told = await world.deliveries()
  assert.partialDeepStrictEqual(JSON.parse(told[0]?.body ?? ''), {
    data: { id: deadly, reason: 'set_aside' },
  })
})

test('a slow node that lives keeps its job, however long it takes', async (t) => {
  const world = await startWorld(t)
  const id = await world.config('valid')
  world.provider.behave(() => 'hang')
  await world.makeDue(id)
  await (await world.node.start()).started
  await (await (await world.open()).start()).started
  await until(() => world.provider.held() === 1)
  // As if it had been at work for days; it has just told of itself.
  await world.database.pool.query(
    `update pgboss.job set created_on = created_on - interval '2 days' where state = 'active'`,
  )
  const heartbeat = async () =>
    (await world.database.pool.query(`select heartbeat_on from pgboss.job where state = 'active'`)).rows[0]
      ?.heartbeat_on as Date | undefined
  const first = await heartbeat()
  await until(async () => ((await heartbeat())?.getTime() ?? 0) > (first?.getTime() ?? 0))
  assert.equal(world.provider.held(), 1)
  world.provider.release(401)
  await until(async () => (await world.read(id)).state === 'invalid')
  assert.equal(world.provider.seen.length, 2)
})

test('a database that goes away and comes back is worked with again, without a restart', async (t) => {
  const way = await newWay(t)
  const world = await startWorld(t, way.through(await freshDatabaseUrl()))
  const id = await world.config('valid')
  world.provider.behave(() => 401)
  await (await world.node.start()).started
  await way.close()
  await until(() => /jobs wait for the database/.test(world.log()))
  await way.reopen()
  await world.makeDue(id)
  await until(async () => (await world.read(id)).state === 'invalid')
})

test('jobs start when the database comes back, should it be away at the start', async (t) => {
  const way = await newWay(t)
  const world = await startWorld(t, way.through(await freshDatabaseUrl()))
  const id = await world.config('valid')
  await world.makeDue(id)
  world.provider.behave(() => 401)
  await way.close()
  const jobs = await world.node.start()
  await until(() => /jobs wait for the database/.test(world.log()))
  await way.reopen()
  await jobs.started
  await until(async () => (await world.read(id)).state === 'invalid')
})

test('stopping ends within its time while the database does not answer', async (t) => {
  const way = await newWay(t)
  const world = await startWorld(t, way.through(await freshDatabaseUrl()))
  const jobs = await world.node.start()
  await jobs.started
  way.stall()
  const begun = performance.now()
  await jobs.stop()
  assert.ok(performance.now() - begun < 8_000)
  await way.close()
})

test('a connection lost at the commit of a verdict loses neither the verdict nor the job', async (t) => {
  const way = await newWay(t)
  const world = await startWorld(t, way.through(await freshDatabaseUrl()))
  const id = await world.config('valid')
  world.provider.behave(() => 401)
  const jobs = await world.node.start()
  await jobs.started
  way.cutAt('unclear_validations', 'after')
  await world.makeDue(id)
  await until(async () => (await world.read(id)).state === 'invalid')
  assert.equal((await world.audit('integration_config.state')).length, 1)
  await settled(world)
})

test('nodes that start at once on a new database set it up once', async (t) => {
  const world = await startWorld(t, await emptyDatabaseUrl())
  const nodes = await Promise.all([world.open(), world.open(), world.open()])
  await Promise.all(nodes.map(async (node) => (await node.start()).started))
  const { rows } = await world.database.pool.query('select name from pgboss.queue order by name')
  assert.deepEqual(
    rows.map(({ name }) => name).filter((name: string) => !name.startsWith('__')),
    ['validation.acme', 'webhooks'],
  )
})

test("a change of the queue's own tables waits for others only briefly", async (t) => {
  const way = await newWay(t)
  const world = await startWorld(t, way.through(await emptyDatabaseUrl()))
  await (await world.node.start()).started
  assert.match(way.sent(), /lock_timeout = 2000;.*create table pgboss/is)
  assert.doesNotMatch(way.sent(), /lock_timeout = 30000/)
})

test('a role that owns its database and nothing else is enough', async (t) => {
  const world = await startWorld(t, await emptyDatabaseUrl())
  const name = new URL(world.options.databaseUrl).pathname.slice(1)
  const role = `${name}_role`
  const { pool } = world.database
  await pool.query(`create role ${role} login password '${role}'`)
  t.after(async () => {
    await administer(server.url, `drop database ${name} with (force)`)
    await administer(server.url, `drop role ${role}`)
  })
  await pool.query(`alter database ${name} owner to ${role}`)
  await pool.query(`grant all on all tables in schema public to ${role}`)
  const id = await world.config('valid')
  world.provider.behave(() => 401)
  await world.makeDue(id)
  const address = new URL(world.options.databaseUrl)
  address.username = role
  address.password = role
  const node = await world.open({ databaseUrl: address.href })
  await (await node.start()).started
  await until(async () => (await world.read(id)).state === 'invalid')
  assert.deepEqual(node.troubles, [])
})

const settled = (world: World) => until(async () => (await world.activeJobs()) === 0)
