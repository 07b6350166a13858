import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { PageTokenFault, type PlaceWord, pageToken, readPageToken } from './page-token.ts'

const question = ['entity_context', 'acme', 'ada']
const place: readonly PlaceWord[] = ['time', 'id', 'count']
const words = ['2026-02-28T23:59:59.123456Z', '0b0e9a4e-1f2a-4c3d-8e4f-5a6b7c8d9e0f', 57]

test('a token says where its page begins, to those who ask the same again', () => {
  assert.deepEqual(readPageToken(question, place, pageToken(question, words)), words.map(String))
  for (const other of [['entity_context', 'acme', 'bob'], ['entity_context', 'others', 'ada'], []])
    assert.throws(() => readPageToken(other, place, pageToken(question, words)), PageTokenFault)
})

/** A token as whoever knows the question can make it. */
const forged = (text: string) =>
  Buffer.from(
    `1 ${hash('sha256', JSON.stringify([...question, text]), 'base64url').slice(0, 22)} ${text}`,
  ).toString('base64url')

test('a token that somebody made up is refused unless its words are what they stand for', () => {
  const [time = '', id = ''] = words.map(String)
  assert.deepEqual(readPageToken(question, place, forged(`${time} ${id} 1`)), [time, id, '1'])
  for (const text of [
    `${time} ${id}`,
    `${time} ${id} 1 1`,
    `${time} ${id} -5`,
    `${time} ${id} 1.5`,
    `${time} ${id} NaN`,
    `${time} ${id} 9999999999999999`,
    `${time} x 1`,
    `2026-02-30T00:00:00Z ${id} 1`,
    `2026-13-01T00:00:00Z ${id} 1`,
    `2026-02-28T25:00:00Z ${id} 1`,
    `infinity ${id} 1`,
    `${id} ${time} 1`,
  ])
    assert.throws(() => readPageToken(question, place, forged(text)), PageTokenFault, text)
})

test('whatever is no token is refused as one', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      for (const token of [text, forged(text), Buffer.from(text).toString('base64url')])
        assert.throws(() => readPageToken(question, place, token), PageTokenFault)
    }),
  )
})
