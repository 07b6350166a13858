/** Deliveries of webhooks, and what re-validation remembers of a configuration. */
import { type Kysely, sql } from 'kysely'

export async function up(database: Kysely<unknown>): Promise<void> {
  const statements = [
    sql`create index webhooks_of_organization on webhooks (organization_id, created_at)`,
    sql`create table webhook_deliveries (
      id uuid primary key default gen_random_uuid(),
      webhook_id uuid not null references webhooks on delete cascade,
      organization_id uuid not null references organizations on delete cascade,
      event text not null,
      body text not null,
      created_at timestamptz not null default now(),
      state text not null default 'waiting' check (state in ('waiting', 'delivered', 'dead')),
      attempts integer not null default 0,
      next_attempt_at timestamptz default now(),
      last_status integer,
      last_fault text,
      ended_at timestamptz,
      check ((state = 'waiting') = (next_attempt_at is not null)),
      check ((state = 'waiting') = (ended_at is null))
    )`,
    sql`create index webhook_deliveries_due on webhook_deliveries (next_attempt_at) where next_attempt_at is not null`,
    sql`create index webhook_deliveries_ended on webhook_deliveries (ended_at) where ended_at is not null`,
    sql`create index webhook_deliveries_of_webhook on webhook_deliveries (webhook_id, created_at)`,
    sql`create index webhook_deliveries_in_order on webhook_deliveries (created_at, id)`,
    sql`create table unclear_validations (
      config_id uuid primary key references integration_configs on delete cascade,
      count integer not null,
      since timestamptz not null
    )`,
    sql`create table expiry_notices (
      config_id uuid not null references integration_configs on delete cascade,
      expires_on date not null,
      days integer not null,
      told_at timestamptz not null default now(),
      primary key (config_id, expires_on, days)
    )`,
  ]
  for (const statement of statements) await statement.execute(database)
}
