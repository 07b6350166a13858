import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createDirectory, type DirectoryOptions, largestCount } from './directory.ts'

const sizes = fc.record({
  domain: fc.constant('acme.com'),
  users: fc.integer({ min: 1, max: 400 }),
  groups: fc.integer({ min: 1, max: 60 }),
  devices: fc.integer({ min: 0, max: 50 }),
  seed: fc.string(),
})
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index)
const million: DirectoryOptions = { domain: 'acme.com', users: 1_000_000, groups: 10_000, seed: 'large' }

test('the same seed gives the same organisation, another seed another one', () => {
  fc.assert(
    fc.property(sizes, (options) => {
      const [one, two] = [createDirectory(options), createDirectory({ ...options })]
      const other = createDirectory({ ...options, seed: `${options.seed}!` })
      for (const index of upTo(one.userCount)) assert.deepEqual(one.person(index), two.person(index))
      for (const index of upTo(one.groupCount)) assert.deepEqual(one.group(index), two.group(index))
      for (const index of upTo(one.deviceCount)) assert.deepEqual(one.device(index), two.device(index))
      assert.notEqual(one.person(0).key, other.person(0).key)
    }),
    { numRuns: 30 },
  )
})

test('what a person or a group is does not depend on how many there are or on the order of asking', () => {
  const small = createDirectory({ ...million, users: 10 })
  const large = createDirectory(million)
  large.person(999_999)
  assert.deepEqual(small.person(9), large.person(9))
})

test('keys, user names, nicknames and serial numbers are unique', () => {
  const directory = createDirectory({ domain: 'acme.com', users: 5_000, groups: 2_000, seed: 'unique' })
  const people = upTo(5_000).map(directory.person)
  const groups = upTo(2_000).map(directory.group)
  const devices = upTo(directory.deviceCount).map(directory.device)
  const keys = [...people, ...groups, ...devices].map((thing) => thing.key)
  assert.equal(new Set(keys).size, keys.length)
  assert.ok(keys.every((key) => /^[0-9a-f]{32}$/.test(key)))
  assert.equal(new Set(people.map((one) => one.userName)).size, people.length)
  assert.equal(new Set(groups.map((one) => one.mailNickname)).size, groups.length)
  assert.equal(new Set(devices.map((one) => one.serialNumber)).size, devices.length)
  assert.ok(people.every((one) => /^[a-z]+\.[a-z]+\d+$/.test(one.userName)))
  assert.ok(groups.every((one) => /^[a-z0-9-]+$/.test(one.mailNickname)))
})

test('a person is found by key, user name and e-mail address in any case, and nobody by anything else', () => {
  const directory = createDirectory(million)
  for (const index of [0, 1, 17, 999_999]) {
    const person = directory.person(index)
    assert.equal(directory.findPerson(person.key), index)
    assert.equal(directory.findPerson(person.key.toUpperCase()), index)
    assert.equal(directory.findPerson(person.userName), index)
    assert.equal(directory.findPerson(person.email.toUpperCase()), index)
    assert.equal(directory.findPerson(`${person.userName}@elsewhere.com`), undefined)
    assert.equal(directory.findPerson(person.userName.replace(/\d+$/, (digits) => `0${digits}`)), undefined)
    assert.equal(directory.findPerson(directory.group(1).key), undefined)
  }
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-f]{32}$/)), (text) => {
      assert.equal(directory.findPerson(text), undefined)
      assert.equal(directory.findGroup(text), undefined)
    }),
  )
})

test('a group is found by key, nickname and e-mail address', () => {
  const directory = createDirectory(million)
  for (const index of [0, 1, 9_999]) {
    const group = directory.group(index)
    assert.equal(directory.findGroup(group.key), index)
    assert.equal(directory.findGroup(group.mailNickname), index)
    assert.equal(directory.findGroup(`${group.mailNickname}@ACME.com`), index)
    assert.equal(directory.findGroup(directory.person(index).key), undefined)
  }
})

test('the list of members, the membership of each person and the member count agree', () => {
  fc.assert(
    fc.property(sizes, (options) => {
      const directory = createDirectory(options)
      for (const groupIndex of upTo(directory.groupCount)) {
        const members = directory.members(groupIndex, 0, directory.userCount)
        assert.equal(members.length, directory.group(groupIndex).memberCount)
        assert.deepEqual(
          members,
          upTo(directory.userCount).filter((person) => directory.isMember(groupIndex, person)),
        )
      }
    }),
    { numRuns: 25 },
  )
})

test('pages of members put together are all members, whatever the page size', () => {
  fc.assert(
    fc.property(sizes, fc.integer({ min: 1, max: 30 }), (options, pageSize) => {
      const directory = createDirectory(options)
      const groupIndex = directory.groupCount - 1
      const pages: number[] = []
      for (let from = 0; ; from += pageSize) {
        const page = directory.members(groupIndex, from, pageSize)
        if (page.length === 0) break
        pages.push(...page)
      }
      assert.deepEqual(pages, directory.members(groupIndex, 0, directory.userCount))
    }),
    { numRuns: 25 },
  )
})

test('one group holds everybody and most groups are small', () => {
  const directory = createDirectory(million)
  const counts = upTo(directory.groupCount).map((index) => directory.group(index).memberCount)
  assert.equal(counts[0], 1_000_000)
  const sorted = counts.toSorted((a, b) => a - b)
  assert.equal(sorted[0], 0)
  assert.ok((sorted[5_000] ?? 0) < 100)
  assert.ok((sorted[9_990] ?? 0) > 1_000)
})

test('membership is exact at the far end of a million people', () => {
  const directory = createDirectory(million)
  assert.deepEqual(directory.members(0, 999_998, 10), [999_998, 999_999])
  const biggest = upTo(directory.groupCount)
    .slice(1)
    .reduce((a, b) => (directory.group(a).memberCount >= directory.group(b).memberCount ? a : b))
  const size = directory.group(biggest).memberCount
  for (const person of directory.members(biggest, size - 50, 100))
    assert.ok(directory.isMember(biggest, person))
  assert.equal(directory.members(biggest, size, 10).length, 0)
})

test('membership is exact in the largest organisation too', () => {
  const directory = createDirectory({ ...million, users: largestCount })
  assert.deepEqual(directory.members(0, largestCount - 2, 5), [largestCount - 2, largestCount - 1])
  for (const group of [1, 2, 3, 500]) {
    const { memberCount } = directory.group(group)
    const last = directory.members(group, Math.max(0, memberCount - 100), 200)
    assert.equal(new Set(last).size, Math.min(100, memberCount))
    for (const person of last) assert.ok(directory.isMember(group, person))
  }
})

test('the first person is an active administrator of old standing and everybody reports to somebody before them', () => {
  fc.assert(
    fc.property(sizes, (options) => {
      const directory = createDirectory(options)
      assert.partialDeepStrictEqual(directory.person(0), { status: 'active', hasMfa: true })
      for (const index of upTo(directory.userCount)) {
        const person = directory.person(index)
        assert.equal(person.managerIndex === undefined, index === 0)
        assert.ok((person.managerIndex ?? -1) < index)
        assert.ok(person.createdAt <= person.updatedAt)
        if (person.lastSignInAt) assert.ok(person.createdAt <= person.lastSignInAt)
      }
    }),
    { numRuns: 10 },
  )
})

test('sizes that are no whole numbers and indexes outside the organisation are refused', () => {
  for (const users of [0, -1, 1.5, Number.NaN, 2 ** 32])
    assert.throws(() => createDirectory({ ...million, users }), RangeError)
  const directory = createDirectory({ ...million, users: 3, groups: 2, devices: 1 })
  assert.throws(() => directory.person(3), RangeError)
  assert.throws(() => directory.group(2), RangeError)
  assert.throws(() => directory.device(-1), RangeError)
  assert.throws(() => directory.members(2, 0, 1), RangeError)
  assert.equal(directory.isMember(0, 3), false)
})
