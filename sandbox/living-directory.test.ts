import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Change, createLivingDirectory } from './living-directory.ts'

const options = { domain: 'acme.com', users: 40, groups: 8, seed: 'alive' }
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index)

test('who leaves is found nowhere and in no group, and returns under the same key into group 0 alone', () => {
  const directory = createLivingDirectory(options)
  const [group = 0] = upTo(8).filter((index) => index > 0 && directory.isMember(index, 3))
  const { key, email } = directory.person(3)
  directory.change({ what: 'leave', person: 3 })
  assert.equal(directory.findPerson(email), undefined)
  assert.ok(upTo(8).every((index) => !directory.members(index, 0, 100).includes(3)))
  directory.change({ what: 'return', person: 3 })
  assert.equal(directory.findPerson(key), 3)
  assert.deepEqual(directory.groupsOf(3), [0])
  assert.equal(directory.isMember(group, 3), group === 0)
})

test('a new user name is found, the old one no longer, and nobody may take one that is in use', () => {
  const directory = createLivingDirectory(options)
  const { userName } = directory.person(5)
  directory.change({ what: 'edit', person: 5, edit: { userName: 'grace.hopper' } })
  assert.equal(directory.findPerson('Grace.Hopper@acme.com'), 5)
  assert.equal(directory.findPerson(userName), undefined)
  assert.throws(
    () => directory.change({ what: 'edit', person: 6, edit: { userName: 'grace.hopper' } }),
    RangeError,
  )
})

test('whatever happens, lists, look-ups and memberships agree with each other and with what happened', () => {
  const index = fc.nat({ max: 60 })
  const change = fc.oneof(
    fc.constant<Change>({ what: 'hire' }),
    fc.record({ what: fc.constantFrom('leave', 'return'), person: index }) as fc.Arbitrary<Change>,
    fc.record({
      what: fc.constant('edit'),
      person: index,
      edit: fc.record({ title: fc.string() }),
    }) as fc.Arbitrary<Change>,
    fc.record({ what: fc.constant('sign_in'), person: index, ip: fc.ipV4() }) as fc.Arbitrary<Change>,
    fc.record({ what: fc.constant('found'), name: fc.string() }) as fc.Arbitrary<Change>,
    fc.record({
      what: fc.constant('rename'),
      group: fc.nat({ max: 12 }),
      name: fc.string(),
    }) as fc.Arbitrary<Change>,
    fc.record({ what: fc.constant('dissolve'), group: fc.nat({ max: 12 }) }) as fc.Arbitrary<Change>,
    fc.record({
      what: fc.constantFrom('join', 'quit'),
      group: fc.nat({ max: 12 }),
      person: index,
    }) as fc.Arbitrary<Change>,
  )
  fc.assert(
    fc.property(fc.array(change, { maxLength: 60 }), (changes) => {
      const directory = createLivingDirectory(options)
      const members = new Map(upTo(8).map((group) => [group, new Set(directory.members(group, 0, 100))]))
      const there = new Set(upTo(40))
      let happened = 0
      for (const wanted of changes) {
        let done: ReturnType<typeof directory.change>
        try {
          done = directory.change(wanted, new Date(1_800_000_000_000 + happened))
        } catch (error) {
          assert.ok(error instanceof RangeError)
          continue
        }
        happened += 1
        assert.equal(done.sequence, happened)
        const { person = -1, group = -1 } = done
        if (wanted.what === 'hire' || wanted.what === 'return') {
          there.add(person)
          members.get(0)?.add(person)
        }
        if (wanted.what === 'leave') {
          there.delete(person)
          for (const set of members.values()) set.delete(person)
        }
        if (wanted.what === 'found') members.set(group, new Set())
        if (wanted.what === 'dissolve') members.delete(group)
        if (wanted.what === 'join') members.get(group)?.add(person)
        if (wanted.what === 'quit') members.get(group)?.delete(person)
      }
      assert.equal(directory.changesSince(0).length, happened)
      for (const one of upTo(directory.userCount)) {
        assert.equal(directory.hasPerson(one), there.has(one))
        assert.equal(directory.findPerson(directory.person(one).email), there.has(one) ? one : undefined)
      }
      for (const group of upTo(directory.groupCount)) {
        const expected = [...(members.get(group) ?? [])].sort((one, other) => one - other)
        assert.deepEqual(directory.members(group, 0, 1_000), expected)
        assert.deepEqual(directory.members(group, 2, 3), expected.slice(2, 5))
        if (directory.hasGroup(group)) assert.equal(directory.group(group).memberCount, expected.length)
        for (const one of upTo(directory.userCount))
          assert.equal(directory.isMember(group, one), expected.includes(one))
      }
    }),
    { numRuns: 200 },
  )
})
