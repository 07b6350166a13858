/** Groups whose members an increment reads anew, whole. */
import { type RawBuilder, sql } from 'kysely'
import { kindNumbers } from '../entities/model.ts'
import type { SyncMode } from './schema.ts'
import type { StageTables } from './stage-tables.ts'
import type { RunHandle } from './sync-stage.ts'

/** In place of a tag, of a group whose members could not be read: increments ask for them until they are. No provider's. */
export const unreadTag = sql.lit('')

/** The open groups of which the last run that asked for the members was told none. */
export const unreadGroups = ({ configId }: RunHandle): RawBuilder<unknown> => sql`
  entity_revisions where config_id = ${configId} and kind = ${sql.lit(kindNumbers.group)}
    and ended_at = 'infinity' and members_tag = ${unreadTag}`

/** Ids of the groups that were named as changed, have another tag of their members than before, or are still unread. */
export const renewedGroups = (
  tables: StageTables,
  run: RunHandle,
  mode: SyncMode,
): RawBuilder<unknown> => sql`
  select group_uid as uid from ${sql.raw(tables.memberships)} where member_uid is null
  union
  select told.uid from (
    select distinct on (uid) uid, entity_id, members_tag, label
    from ${sql.raw(tables.entities)} where kind = ${sql.lit(kindNumbers.group)} order by uid, n desc
  ) as told
  left join entity_revisions as known
    on known.organization_id = ${run.organizationId} and known.kind = ${sql.lit(kindNumbers.group)}
    and known.entity_id = told.entity_id and known.ended_at = 'infinity'
  where told.label is not null and told.members_tag is not null
    and told.members_tag is distinct from known.members_tag
  ${mode === 'full' ? sql`` : sql`union select uid from ${unreadGroups(run)}`}`
