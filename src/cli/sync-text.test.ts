import assert from 'node:assert/strict'
import { test } from 'node:test'
import { onePlanSchema, planText } from './sync-text.ts'

test('a plan that knows a part tells how many requests it takes at least', () => {
  const { data } = onePlanSchema.parse({
    data: {
      attributes: {
        full: {
          lists: [{ title: 'Users', calls: 12 }, { title: 'Administrator roles' }],
          memberships: { calls: {} },
        },
        incremental: { lists: [{ title: 'Users' }] },
      },
    },
  })
  assert.equal(
    planText(data),
    [
      'Requests to the provider',
      'A full sync:',
      '  Users                12',
      '  Administrator roles  not known yet',
      '  Memberships          not known yet',
      '  In all               at least 13',
      'An increment: not known yet',
      '',
    ].join('\n'),
  )
})
