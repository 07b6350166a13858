/** What has changed since a moment: users, groups and devices by the times that Okta keeps of their last change. */
import type { Group } from '../../entities/model.ts'
import type { IncrementList, Json, Page } from '../reading.ts'
import { MarkLost } from '../reading.ts'
import { isRecord } from './answers.ts'
import { firstFilled } from './links.ts'
import { contentOf, devices, groups, type Listing, nothingVisible, readListing, users } from './lists.ts'
import { uidOf } from './normalise.ts'
import { before, timeOf } from './okta-time.ts'
import type { ListPage } from './pages.ts'
import type { OktaReading } from './reading-session.ts'

/** The mark is the moment of the answer that began the last increment, by Okta's clock, RFC 3339. */
interface Progress {
  readonly at: string
  /** The mark of the increment after this one; absent before the first answer. */
  readonly mark?: string
  readonly hasRecords: boolean
}

function changesOf(
  listing: Listing,
  {
    name,
    title,
    capability,
    required,
  }: Pick<IncrementList<OktaReading>, 'name' | 'title' | 'capability' | 'required'>,
  moreOf: (page: ListPage, mark: string) => Page = () => ({}),
): IncrementList<OktaReading> {
  return {
    name,
    title,
    capability,
    required,
    kinds: [listing.kind],
    begin: async (session) => timeOf(await probe(session, listing)),
    async read(session, mark, cursor) {
      const moment = momentIn(mark)
      const progress = progressIn(cursor) ?? {
        at: listing.since(before(moment, listing.overlapMs)),
        hasRecords: false,
      }
      const page = await readListing(session, listing, progress.at)
      const content = { ...contentOf(listing, page), ...moreOf(page, moment) }
      const nextMark = progress.mark ?? timeOf(page.got.answer)
      const hasRecords = progress.hasRecords || page.records.length > 0
      if (page.next !== undefined) return { ...content, next: { at: page.next, mark: nextMark, hasRecords } }
      // Nothing has changed, or nothing may be seen any more: both are an empty list.
      if (!hasRecords) await probe(session, listing)
      return { ...content, mark: nextMark }
    },
  }
}

/** The smallest list there is. @throws SourceError where it is empty to its end and no organisation's is */
async function probe(session: OktaReading, listing: Listing) {
  const { records, next, got } = await firstFilled(`${listing.whole.split('?')[0]}?limit=1`, (target) =>
    readListing(session, listing, target),
  )
  if (records.length === 0 && next === undefined && listing.kind !== 'device') throw nothingVisible(listing)
  return got.answer
}

function momentIn(mark: Json): string {
  if (typeof mark !== 'string' || Number.isNaN(Date.parse(mark)))
    throw new MarkLost('the mark is no moment of Okta’s')
  return mark
}

function progressIn(cursor: Json | undefined): Progress | undefined {
  if (!isRecord(cursor) || typeof cursor.at !== 'string') return undefined
  const { at, mark, hasRecords } = cursor
  return { at, ...(typeof mark === 'string' && { mark }), hasRecords: hasRecords === true }
}

/** Edits, new users and deprovisionings. Whoever was deleted for good is told of by the System Log alone. */
export const changedUsers = changesOf(users, {
  name: 'changed_users',
  title: 'Changed users',
  capability: 'users',
  required: true,
})

/**
 * Okta's times of change are whole seconds, so that a group read within one may change again in it: its members are
 * read once more although its tag is the same. A minute covers what clocks differ by, too. In ms.
 */
const sameTagMs = 60_000

/** Groups that changed, and those whose members did: Okta tells when, not who. Older changes show in `membersTag`. */
export const changedGroups = changesOf(
  groups,
  { name: 'changed_groups', title: 'Changed groups', capability: 'groups', required: true },
  (page, mark) => ({
    changedGroups: page.records
      .map(groups.entityOf)
      .filter((group): group is Group => 'kind' in group && group.kind === 'group')
      .filter(({ membersTag }) => membersTag !== undefined && membersTag > before(mark, sameTagMs))
      .map(({ attributes: { uid }, memberCount }) => ({
        uid,
        ...(memberCount !== undefined && { memberCount }),
      })),
  }),
)

export const changedDevices = changesOf(
  devices,
  { name: 'changed_devices', title: 'Changed devices', capability: 'devices', required: false },
  (page) => ({
    wholeFacts: page.records
      .flatMap((record) => uidOf(record) ?? [])
      .map((uid) => ({ kind: 'device', uid, names: ['owners'] })),
  }),
)
