/** How many validations may be under way. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createCapacity } from './capacity.ts'

test('a source that holds all its places gets no more, and takes none of another', () => {
  const capacity = createCapacity(2)
  assert.ok(capacity.take('okta', 'one'))
  assert.ok(capacity.take('okta', 'two'))
  assert.equal(capacity.take('okta', 'three'), undefined)
  assert.ok(capacity.take('entra-id', 'three'))
})

test('an organisation has half of the places and leaves the others to others', () => {
  const capacity = createCapacity(4)
  assert.ok(capacity.take('okta', 'one'))
  assert.ok(capacity.take('okta', 'one'))
  assert.equal(capacity.take('okta', 'one'), undefined)
  assert.ok(capacity.take('okta', 'two'))
})

test('a place can be taken again once it was given back, and is given back once', () => {
  const capacity = createCapacity(4)
  const giveBack = capacity.take('okta', 'one')
  capacity.take('okta', 'one')
  giveBack?.()
  giveBack?.()
  assert.ok(capacity.take('okta', 'one'))
  assert.equal(capacity.take('okta', 'one'), undefined)
})
