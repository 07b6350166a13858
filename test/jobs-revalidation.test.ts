/** Stored credentials are validated again by themselves, and what follows from it is told once. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemRequester } from '../src/configs/requester.ts'
import { periodMs } from './jobs-node.ts'
import { startWorld, until } from './jobs-world.ts'

const dayMs = 86_400_000

test('what is due is validated, and is due again after about the usual time', async (t) => {
  const world = await startWorld(t)
  const id = await world.config('valid')
  await world.makeDue(id)
  world.provider.behave(() => 401)
  await (await world.node.start()).started

  const row = await until(async () => {
    const seen = await world.read(id)
    return seen.state === 'invalid' ? seen : undefined
  })
  assert.ok(row.next_validation_at !== null && row.validated_at !== null)
  const waitMs = row.next_validation_at.getTime() - row.validated_at.getTime()
  assert.ok(waitMs >= 0.9 * periodMs && waitMs <= 1.1 * periodMs)
  assert.equal((await world.audit('integration_config.state')).length, 1)
})

test('disabled configurations are left alone', async (t) => {
  const world = await startWorld(t)
  const [idle, busy] = [await world.config('valid-idle'), await world.config('valid-busy')]
  await world.node.configs.update(systemRequester(world.organization), idle, { enabled: false })
  await world.makeDue(idle)
  await world.makeDue(busy)
  world.provider.seen.length = 0
  await (await world.node.start()).started
  await until(() => world.provider.seen.includes('valid-busy'))
  await until(async () => (await world.activeJobs()) === 0)
  assert.deepEqual(world.provider.seen, ['valid-busy'])
})

test('an outage changes no state; it is asked again ever more seldom, and told once, at the third time', async (t) => {
  const world = await startWorld(t)
  await world.webhook(['integration_config.validation_unclear'])
  const id = await world.config('valid')
  world.provider.behave(() => 503)
  await (await world.node.start()).started

  const waitsMs: number[] = []
  for (let round = 0; round < 4; round += 1) {
    const before = (await world.read(id)).validated_at
    await world.makeDue(id)
    const row = await until(async () => {
      const seen = await world.read(id)
      return seen.validated_at?.getTime() !== before?.getTime() ? seen : undefined
    })
    assert.equal(row.state, 'valid')
    waitsMs.push((row.next_validation_at?.getTime() ?? 0) - (row.validated_at?.getTime() ?? 0))
  }
  for (const [round, waitMs] of waitsMs.entries()) {
    const expectedMs = 5 * 60_000 * 2 ** round
    assert.ok(waitMs > 0.89 * expectedMs && waitMs < 1.12 * expectedMs, `${round}: ${waitMs}`)
  }
  const told = await until(() => world.receiver.told[0])
  assert.partialDeepStrictEqual(JSON.parse(told.body), {
    type: 'integration_config.validation_unclear',
    data: { id, state: 'valid', reason: 'indeterminate', validations: 3 },
  })
  assert.equal((await world.deliveries()).length, 1)
  assert.equal((await world.audit('integration_config.validation_unclear')).length, 1)

  world.provider.behave(() => 200)
  await world.makeDue(id)
  await until(async () => {
    const rows = await world.database.query.selectFrom('unclear_validations').selectAll().execute()
    return rows.length === 0
  })
})

test('the end of credentials is told at 30, 14 and 3 days, once each, and is looked for at those times', async (t) => {
  const world = await startWorld(t)
  await world.webhook(['integration_config.expiring'])
  const end = new Date(Math.floor((Date.now() + 30 * dayMs) / dayMs) * dayMs + dayMs / 2)
  const id = await world.config(`valid-until-${end.toISOString().slice(0, 10)}`)
  assert.equal((await world.read(id)).credentials_expire_at?.toISOString(), end.toISOString())
  await (await world.node.start()).started

  const validated = async (daysLeft: number) => {
    world.clock.offsetMs = end.getTime() - daysLeft * dayMs - Date.now()
    const before = (await world.read(id)).validated_at
    await world.makeDue(id)
    return until(async () => {
      const row = await world.read(id)
      return row.validated_at?.getTime() !== before?.getTime() ? row : undefined
    })
  }

  const early = await validated(30.1)
  const mark = end.getTime() - 30 * dayMs
  assert.ok(early.next_validation_at !== null)
  assert.ok(
    early.next_validation_at.getTime() >= mark && early.next_validation_at.getTime() <= mark + 300_000,
  )
  assert.deepEqual(await world.audit('integration_config.expiring'), [])

  for (const daysLeft of [29.9, 29.5, 13.9, 13.5, 2.9, 2.5]) await validated(daysLeft)
  const marks = (await world.audit('integration_config.expiring')).map(({ details }) => details.mark_days)
  assert.deepEqual(marks, [30, 14, 3])
  const deliveries = await world.deliveries()
  assert.deepEqual(
    deliveries.map(({ body }) => JSON.parse(body).data.days_left),
    [29, 13, 2],
  )
})

test('credentials that end within days when they are first seen are told of once', async (t) => {
  const world = await startWorld(t)
  const soon = new Date(Date.now() + 2 * dayMs).toISOString().slice(0, 10)
  const id = await world.config(`valid-until-${soon}`)
  await (await world.node.start()).started
  await world.makeDue(id)
  await until(async () => (await world.audit('integration_config.expiring')).length > 0)
  const [event, ...more] = await world.audit('integration_config.expiring')
  assert.equal(event?.details.mark_days, 3)
  assert.deepEqual(more, [])
})

test('of a provider that hangs, a node takes no more than its share, and hands it back when it stops', async (t) => {
  const world = await startWorld(t)
  const hanging = []
  for (let n = 0; n < 6; n += 1) hanging.push(await world.config(`valid-${n}`))
  for (const id of hanging) await world.makeDue(id)
  world.provider.behave(() => 'hang')
  const node = await world.open({ settings: { validationsPerSource: 2 } })
  const jobs = await node.start()
  await jobs.started
  await until(() => world.provider.held() === 2)
  assert.equal(await world.activeJobs(), 2)

  // Handed back at once, and due for others.
  await jobs.stop()
  assert.equal(await world.activeJobs(), 0)
  const rows = await Promise.all(hanging.map((id) => world.read(id)))
  assert.equal(rows.filter((row) => (row.next_validation_at ?? world.now()) <= world.now()).length, 2)
  assert.ok(rows.every((row) => row.state === 'valid'))
})

test('metrics tell the states, the ends and the delays', async (t) => {
  const world = await startWorld(t)
  const id = await world.config('valid')
  await world.makeDue(id, new Date(Date.now() - 10_000))
  await (await world.node.start()).started
  await until(async () => (await world.node.metrics.text()).includes('end="valid"'))
  const text = await world.node.metrics.text()
  assert.match(text, /credence_jobs_total\{queue="validation.acme",end="valid"\} 1/)
  assert.match(text, /credence_job_delay_seconds_count\{queue="validation.acme"\} 1/)
  assert.match(text, /credence_configs\{integration_type="ACME",state="valid",enabled="true"\} 1/)
})
