/** Groups whose members an increment reads anew, whole. */
import { type RawBuilder, sql } from 'kysely'
import { kindNumbers } from '../entities/model.ts'
import type { StageTables } from './stage-tables.ts'
import type { RunHandle } from './sync-stage.ts'

/** Ids of the groups that were named as changed, or have another tag of their members than before. */
export const renewedGroups = (tables: StageTables, run: RunHandle): RawBuilder<unknown> => sql`
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
    and told.members_tag is distinct from known.members_tag`
