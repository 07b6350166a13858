/** Pages of a sync may be larger than the answers to a validation, up to a limit of their own. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createOutbound, maxPageBytes } from '../src/outbound/outbound.ts'
import { answer, get, host, startStandIn } from './outbound-stand-in.ts'

const mebibyte = 1024 * 1024

test('a client for pages takes 4 MiB and no more, any other one 1 MiB', async (t) => {
  const standIn = await startStandIn((socket, _turn, request) => {
    const size = Number(/^GET \/(\d+)/.exec(request)?.[1])
    socket.write(answer(Buffer.alloc(size, 'x')))
  })
  const outbound = createOutbound({ endpoints: new Map([[host, standIn.origin]]) })
  const rules = [{ host, chosenBy: 'provider' }] as const
  const signal = AbortSignal.timeout(10_000)
  const forPages = outbound.open(rules, signal, 0, maxPageBytes)
  const forValidation = outbound.open(rules, signal)
  t.after(async () => {
    await Promise.all([forPages.close(), forValidation.close()])
    await standIn.close()
  })
  const { text } = await forPages.request(get(`/${4 * mebibyte}`))
  assert.equal(text.length, 4 * mebibyte)
  await assert.rejects(forPages.request(get(`/${4 * mebibyte + 1}`)), { code: 'too_large' })
  await assert.rejects(forPages.request({ ...get(`/${5 * mebibyte}`), maxBodyBytes: 8 * mebibyte }), {
    code: 'too_large',
  })
  assert.equal((await forValidation.request(get(`/${mebibyte}`))).text.length, mebibyte)
  await assert.rejects(forValidation.request(get(`/${mebibyte + 1}`)), { code: 'too_large' })
})
