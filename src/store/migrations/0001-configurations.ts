/** Organisations, keys, configurations with their envelopes, registrations, audit trail, webhooks, rate windows. */
import { type Kysely, sql } from 'kysely'

export async function up(database: Kysely<unknown>): Promise<void> {
  const statements = [
    sql`create table organizations (
      id uuid primary key default gen_random_uuid(),
      name text not null unique,
      created_at timestamptz not null default now()
    )`,
    sql`create table keys (
      id uuid primary key default gen_random_uuid(),
      organization_id uuid not null references organizations on delete cascade,
      name text,
      prefix text not null,
      api_key_hash bytea unique,
      application_key_hash bytea not null unique,
      permissions text[] not null,
      created_at timestamptz not null default now(),
      revoked_at timestamptz
    )`,
    sql`create index keys_by_organization on keys (organization_id, created_at)`,
    sql`create table integration_configs (
      id uuid primary key default gen_random_uuid(),
      organization_id uuid not null references organizations on delete cascade,
      integration_type text not null,
      domain text not null,
      instance text not null default '',
      name text not null,
      enabled boolean not null default true,
      settings jsonb not null default '{}',
      state text not null default 'initializing' check (state in ('initializing', 'valid', 'invalid')),
      revision bigint not null default 1,
      created_at timestamptz not null default now(),
      modified_at timestamptz not null default now(),
      report jsonb,
      validated_at timestamptz,
      next_validation_at timestamptz,
      credentials_expire_at timestamptz,
      unique (organization_id, integration_type, domain, instance)
    )`,
    sql`create index integration_configs_in_order on integration_configs (organization_id, created_at, id)`,
    sql`create index integration_configs_due on integration_configs (next_validation_at) where next_validation_at is not null`,
    sql`create table envelopes (
      owner_id uuid primary key,
      organization_id uuid,
      key_id text not null,
      wrapped_key bytea not null,
      sealed bytea not null,
      created_at timestamptz not null default now()
    )`,
    sql`create index envelopes_by_key on envelopes (key_id, owner_id)`,
    sql`create table vault_keys (
      id text primary key,
      check_value bytea not null,
      created_at timestamptz not null default now(),
      retired_at timestamptz
    )`,
    sql`create table registrations (
      id uuid primary key default gen_random_uuid(),
      source text not null,
      name text not null,
      attributes jsonb not null default '{}',
      created_at timestamptz not null default now(),
      unique (source, name)
    )`,
    sql`create table registration_bindings (
      registration_id uuid not null references registrations on delete cascade,
      organization_id uuid not null references organizations on delete cascade,
      source text not null,
      domain text not null,
      primary key (organization_id, source, domain)
    )`,
    sql`create index registration_bindings_of_registration on registration_bindings (registration_id)`,
    sql`create table audit_events (
      id bigint generated always as identity primary key,
      at timestamptz not null default now(),
      organization_id uuid,
      actor text not null,
      action text not null,
      target text,
      outcome text not null check (outcome in ('succeeded', 'refused', 'failed')),
      address text,
      request_id text,
      details jsonb not null default '{}'
    )`,
    sql`create index audit_events_by_organization on audit_events (organization_id, id)`,
    sql`create index audit_events_by_target on audit_events (target, id) where target is not null`,
    sql`create index audit_events_by_action on audit_events (action, id)`,
    sql`create table webhooks (
      id uuid primary key default gen_random_uuid(),
      organization_id uuid not null references organizations on delete cascade,
      url text not null,
      events text[] not null,
      enabled boolean not null default true,
      created_at timestamptz not null default now()
    )`,
    sql`create unlogged table rate_windows (
      key text primary key,
      window_start timestamptz not null,
      taken integer not null
    )`,
  ]
  for (const statement of statements) await statement.execute(database)
}
