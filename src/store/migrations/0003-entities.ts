/** Runs of syncs, and entities with their revisions. */
import { type Kysely, sql } from 'kysely'

export async function up(database: Kysely<unknown>): Promise<void> {
  const statements = [
    // What was read and is not merged yet: tables of a run, made and dropped with it, never backed up.
    sql`create schema sync_stage`,
    // Emptied together with them by a crash, which is how that is noticed.
    sql`create unlogged table sync_stage.runs (
      run_id uuid primary key,
      commits integer not null default 0,
      since bigint not null
    )`,
    sql`create table sync_states (
      config_id uuid primary key references integration_configs on delete cascade,
      organization_id uuid not null,
      paused boolean not null default false,
      marks jsonb,
      marks_revision bigint,
      incremental_since timestamptz,
      complete_at timestamptz,
      next_full_at timestamptz,
      next_incremental_at timestamptz,
      failures integer not null default 0,
      last_error jsonb
    )`,
    sql`create index sync_states_full_due on sync_states (next_full_at) where next_full_at is not null and not paused`,
    sql`create index sync_states_incremental_due on sync_states (next_incremental_at) where next_incremental_at is not null and not paused`,
    sql`create table sync_runs (
      id uuid primary key default gen_random_uuid(),
      organization_id uuid not null,
      config_id uuid not null references integration_configs on delete cascade,
      mode text not null check (mode in ('full', 'incremental')),
      dry_run boolean not null default false,
      status text not null default 'queued' check (status in
        ('queued', 'running', 'succeeded', 'failed', 'quarantined', 'cancelled', 'superseded')),
      requested_by text not null,
      reason text not null,
      requested_at timestamptz not null default now(),
      started_at timestamptz,
      ended_at timestamptz,
      fence bigint not null default 0,
      cancel_requested boolean not null default false,
      progress jsonb not null default '{}',
      plan jsonb,
      result jsonb,
      error jsonb,
      pages bigint not null default 0,
      seen bigint not null default 0,
      changed bigint not null default 0,
      removed bigint not null default 0,
      provider_calls bigint not null default 0,
      throttled bigint not null default 0,
      approved_by text
    )`,
    // One at a time; one more may wait for approval.
    sql`create unique index sync_runs_active on sync_runs (config_id) where status in ('queued', 'running')`,
    sql`create unique index sync_runs_quarantined on sync_runs (config_id) where status = 'quarantined'`,
    sql`create index sync_runs_of_config on sync_runs (config_id, requested_at)`,
    sql`create table sync_removals (
      run_id uuid not null references sync_runs on delete cascade,
      kind smallint not null,
      entity_id uuid not null,
      uid text not null,
      label text not null,
      primary key (run_id, kind, entity_id)
    )`,
    sql`create table entity_clocks (
      organization_id uuid primary key,
      sequence bigint not null default 0,
      at timestamptz not null default '-infinity'
    )`,
    sql`create table entity_sightings (
      config_id uuid not null references integration_configs on delete cascade,
      kind smallint not null,
      organization_id uuid not null,
      seen_at timestamptz not null,
      open_count bigint not null default 0,
      membership_count bigint not null default 0,
      memberships_in bigint,
      primary key (config_id, kind)
    )`,
    sql`create table entity_revisions (
      organization_id uuid not null,
      kind smallint not null,
      entity_id uuid not null,
      first_seen_at timestamptz not null,
      ended_at timestamptz not null default 'infinity',
      last_seen_at timestamptz,
      config_id uuid not null,
      opened_in bigint not null,
      closed_in bigint,
      content_hash uuid not null,
      document_hash uuid,
      uid text collate "C" not null,
      label text not null default '',
      attributes text not null,
      facts text not null default '{}',
      group_uids text[] collate "C" not null default '{}',
      groups text not null default '[]',
      activity text not null default '{}',
      raw text not null default '{}',
      members_tag text,
      members_print text,
      terms tsvector not null,
      primary key (organization_id, kind, entity_id, first_seen_at)
    ) with (toast_tuple_target = 4080)`,
    sql`create index entity_revisions_open on entity_revisions (config_id, kind, entity_id) where ended_at = 'infinity'`,
    sql`create index entity_revisions_ended on entity_revisions (config_id, entity_id) where ended_at <> 'infinity'`,
    sql`create index entity_revisions_by_first on entity_revisions (organization_id, kind, first_seen_at, entity_id)`,
    sql`create index entity_revisions_by_end on entity_revisions (organization_id, kind, ended_at, entity_id) where ended_at <> 'infinity'`,
    sql`create index entity_revisions_opened on entity_revisions (organization_id, opened_in, entity_id)`,
    sql`create index entity_revisions_closed on entity_revisions (organization_id, closed_in, entity_id) where closed_in is not null`,
    sql`create index entity_revisions_terms on entity_revisions using gin (terms)`,
    sql`create table entity_keys (
      organization_id uuid not null,
      key text collate "C" not null,
      kind smallint not null,
      entity_id uuid not null,
      config_id uuid not null,
      primary key (organization_id, key, kind, entity_id)
    )`,
    sql`create index entity_keys_of_config on entity_keys (config_id)`,
    sql`create table entity_purges (
      config_id uuid primary key,
      organization_id uuid not null,
      requested_at timestamptz not null default now()
    )`,
    sql`create unlogged table provider_budgets (
      key text primary key,
      free_at timestamptz not null
    )`,
    // Those that were made before are synchronised from now on.
    sql`insert into sync_states (config_id, organization_id, next_full_at)
      select id, organization_id, now() from integration_configs`,
  ]
  for (const statement of statements) await statement.execute(database)
}
