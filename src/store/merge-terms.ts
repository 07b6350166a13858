/** The terms that facts, groups and activity give an entity, in SQL; the others are made before it is staged. */
import { type RawBuilder, sql } from 'kysely'
import { kindNumbers } from '../entities/model.ts'
import { addedFields, termPrefix } from '../entities/terms.ts'
import type { RunHandle } from './sync-stage.ts'

/** Groups of an entity in the index at most, and longest id of one, in bytes: a tsvector ends at 1 MiB. */
const indexedGroups = sql.lit(2_000)
const longestGroupId = sql.lit(200)
/** Says that an entity is in groups that the index does not name. */
const moreGroups = 'groups:more'

/** Ids of those that are known to be in one of the groups, whose ids a query gives as `uid`. */
export function membersOf({ organizationId, configId }: RunHandle, groups: RawBuilder<unknown>) {
  const prefix = termPrefix(organizationId)
  // As a lexeme of a tsquery, in quotes.
  const sought = sql`('''' || replace(replace(${`${prefix}group:`}::text || uid, '\\', '\\\\'), '''', '''''') || '''')::tsquery`
  return sql`
    with sought_groups as (${groups})
    select member.entity_id from (
      select ${sought} as terms from sought_groups where octet_length(uid) <= ${longestGroupId}
      union all
      select ${`'${prefix}${moreGroups}'`}::tsquery where exists (select from sought_groups)
    ) as sought
    join entity_revisions as member on member.terms @@ sought.terms and member.organization_id = ${organizationId}
      and member.config_id = ${configId} and member.ended_at = 'infinity'`
}

export interface TermsOf {
  readonly organizationId: string
  readonly kind: RawBuilder<unknown>
  /** Made before staging; null where the entity was not staged. */
  readonly staged: RawBuilder<unknown>
  /** Of the open revision; null where there is none. */
  readonly known: RawBuilder<unknown>
  readonly attributes: RawBuilder<unknown>
  /** As jsonb; null when there are none. */
  readonly facts: RawBuilder<unknown>
  readonly groupUids: RawBuilder<unknown>
  readonly activity: RawBuilder<unknown>
  /** Terms of the roles, and whether they take the place of those that are known. */
  readonly roleTerms: RawBuilder<unknown>
  readonly hasRoles: RawBuilder<unknown>
}

/** All terms of a revision. In JSON text, quotes within a value are escaped: a member's name with them is one. */
export function allTerms(of: TermsOf): RawBuilder<unknown> {
  const prefix = termPrefix(of.organizationId)
  const added = `^${prefix}(${addedFields.join('|')}|groups):`
  return sql`
    coalesce(${of.staged}, array_to_tsvector(array(
      select term from unnest(tsvector_to_array(${of.known})) as term where term !~ ${added}
    ))) || array_to_tsvector(array_remove(
      array(
        select ${`${prefix}group:`}::text || uid from unnest((${of.groupUids})[1:${indexedGroups}]) as uid
        where octet_length(uid) <= ${longestGroupId}
      ) || case when ${of.hasRoles} then ${of.roleTerms} else array(
        select term from unnest(tsvector_to_array(${of.known})) as term where starts_with(term, ${`${prefix}role:`})
      ) end || array[
        case when cardinality(${of.groupUids}) > ${indexedGroups}
          or exists (select from unnest(${of.groupUids}) as uid where octet_length(uid) > ${longestGroupId})
          then ${prefix + moreGroups} end,
        case when ${of.kind} = ${sql.lit(kindNumbers.identity)} and (
          strpos(${of.attributes}, '"is_privileged":true') > 0 or ${of.facts} -> 'roles' is not null
        ) then ${`${prefix}privileged:true`} end,
        ${`${prefix}mfa:`} || coalesce(
          ${of.facts} ->> 'has_mfa',
          case when strpos(${of.attributes}, '"has_mfa":true') > 0 then 'true'
            when strpos(${of.attributes}, '"has_mfa":false') > 0 then 'false' end,
          case when ${of.facts} -> 'mfa_methods' is not null then 'true' end
        ),
        ${addressTerm(prefix, of.activity)}
      ], null
    ))`
}

/** The same terms with the address of another activity. */
export function termsWithActivity(
  organizationId: string,
  terms: RawBuilder<unknown>,
  before: RawBuilder<unknown>,
  after: RawBuilder<unknown>,
): RawBuilder<unknown> {
  const prefix = termPrefix(organizationId)
  return sql`
    case when ${addressTerm('', before)} is not distinct from ${addressTerm('', after)} then ${terms}
    else array_to_tsvector(array_remove(array(
      select term from unnest(tsvector_to_array(${terms})) as term where not starts_with(term, ${`${prefix}ip:`})
    ) || ${addressTerm(prefix, after)}, null)) end`
}

/** The term of the address in an activity; null without one. */
const addressTerm = (prefix: string, activity: RawBuilder<unknown>) =>
  sql`(${`${prefix}ip:`}::text || lower(substring(${activity} from '"last_login_ip":"([^"]+)"')))`
