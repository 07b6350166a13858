import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Token } from './access.ts'
import { createTokens } from './tokens.ts'

function tokensAt(start: number) {
  let time = start
  let asked = 0
  let isFailing = false
  const tokens = createTokens(
    async (): Promise<Token> => {
      asked += 1
      if (isFailing) throw new Error('no token')
      return {
        accessToken: `token ${asked}`,
        claims: undefined,
        issuedAt: new Date(time),
        lifetimeMs: 3_600_000,
      }
    },
    () => new Date(time),
  )
  return {
    tokens,
    asked: () => asked,
    pass: (ms: number) => {
      time += ms
    },
    fail: (failing: boolean) => {
      isFailing = failing
    },
  }
}

test('a token is shared until five minutes before its end, and then asked for once', async () => {
  const { tokens, asked, pass } = tokensAt(0)
  const together = () => Promise.all(Array.from({ length: 5 }, () => tokens.current()))
  await together()
  pass(54 * 60_000)
  await together()
  assert.equal(asked(), 1)
  pass(2 * 60_000)
  const renewed = await together()
  assert.equal(asked(), 2)
  assert.ok(renewed.every(({ accessToken }) => accessToken === 'token 2'))
})

test('many who are refused with one token share another, and a refused replacement is the end', async () => {
  const { tokens, asked, pass } = tokensAt(0)
  const first = await tokens.current()
  const others = await Promise.all(Array.from({ length: 5 }, () => tokens.instead(first)))
  assert.equal(asked(), 2)
  assert.ok(others.every((other) => other?.accessToken === 'token 2'))
  const [second] = others
  assert.ok(second)
  assert.equal(await tokens.instead(second), undefined)
  assert.equal(asked(), 2)
  pass(120_000)
  assert.equal((await tokens.instead(second))?.accessToken, 'token 3')
})

test('after a failure the next one asks anew', async () => {
  const { tokens, asked, fail } = tokensAt(0)
  fail(true)
  await assert.rejects(tokens.current())
  fail(false)
  assert.equal((await tokens.current()).accessToken, 'token 2')
  assert.equal(asked(), 2)
})

test('a token that lives shortly is used for the larger part of its life', async () => {
  let time = 0
  let asked = 0
  const tokens = createTokens(
    async () => {
      asked += 1
      return { accessToken: 'x', claims: undefined, issuedAt: new Date(time), lifetimeMs: 60_000 }
    },
    () => new Date(time),
  )
  await tokens.current()
  time = 40_000
  await tokens.current()
  assert.equal(asked, 1)
  time = 46_000
  await tokens.current()
  assert.equal(asked, 2)
})
