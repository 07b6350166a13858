import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createReader } from '../sources/okta/reader.ts'
import { planOf } from './plan.ts'
import { type AnyReader, withWantedLists } from './session.ts'

test('Okta has a sum once a run has told how many administrators there are', () => {
  const reader = withWantedLists(createReader([]) as unknown as AnyReader, [])
  const known = { identity: 450, group: 30, device: 5 }
  assert.equal(planOf(reader, known, {}).full.calls, undefined)
  const planned = (administrators: number) =>
    planOf(reader, known, {
      outcome: {
        lists: { role_assignments: { pages: 15, seen: administrators } },
        memberships: {
          by: 'group',
          calls: { group: 31, identity: 450 },
          owners: 30,
          pages: 31,
          seen: 900,
          refused: 0,
        },
      },
    }).full
  // Users, groups and devices, each with a page of what changed meanwhile; assignees; each of them; members.
  assert.equal(planned(120).calls, 4 + 2 + 2 + 2 + 120 + 31)
  // A list that is refused takes a request too.
  assert.equal(planned(0).calls, 4 + 2 + 2 + 1 + 31)
})

test('factors of Okta take a request for each person', () => {
  const reader = createReader([]) as unknown as AnyReader
  const { full } = planOf(reader, { identity: 450, group: 30, device: 5 }, {})
  assert.equal(full.lists.find(({ name }) => name === 'enrolled_factors')?.calls, 3 + 450)
})
