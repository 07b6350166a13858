/** Why a run ended without what it was for, in words that say what to do. */

import type { OpenedConfig } from '../configs/opened.ts'
import type { SourceError } from '../outbound/source-error.ts'
import type { Cause, Diagnosis } from '../sources/cause.ts'
import type { EntityType, ProviderWords } from '../sources/source.ts'

export interface RunError extends Omit<Cause, 'docs'> {
  /** Of the vendor, where it is about the provider. */
  readonly docs?: string
  /** The list that could not be read. */
  readonly list?: string
  readonly provider?: ProviderWords
}

/** Ends a run as failed. */
export class SyncFailure extends Error {
  override readonly name = 'SyncFailure'
  readonly error: RunError
  /** Only a full run mends it. */
  readonly isFullWanted: boolean

  constructor(error: RunError, isFullWanted = false) {
    super(error.code)
    this.error = error
    this.isFullWanted = isFullWanted
  }
}

type Words = Pick<Cause, 'title' | 'explanation' | 'remedy'>

/** What is about syncing itself, whoever the provider is. `{list}` is filled in. */
export const syncCauses = {
  sync_list_loops: {
    title: 'The list {list} leads back to where it was',
    explanation:
      'A page named a page that was read before as the next one, so that the list would never end. Nothing of the run was applied.',
    remedy:
      'Run the sync again. If it recurs, check that nothing between this server and the provider answers in its place, and report it to the provider.',
  },
  sync_list_endless: {
    title: 'The list {list} does not end',
    explanation:
      'Page after page came without anything on it and named a next one. A run goes on without a list that is optional; without another nothing of it is applied.',
    remedy:
      'Run the sync again. If it recurs, check that nothing between this server and the provider answers in its place, and report it to the provider.',
  },
  sync_cursor_unusable: {
    title: 'The list {list} cannot be followed',
    explanation:
      'A page named the next one in more characters than any provider needs, or in some that are no text. Nothing was applied.',
    remedy:
      'Check that nothing between this server and the provider answers in its place, and report it to the provider.',
  },
  sync_list_left_out: {
    title: 'The list {list} was left out',
    explanation: 'It comes after a list that could not be read.',
    remedy: 'Look at why that list could not be read.',
  },
  sync_mark_lost: {
    title: 'The provider no longer knows from where changes were to be told',
    explanation:
      'What an increment goes on from has expired there or was reset. Nothing was removed; a full run reads everything again.',
    remedy: 'Nothing is to be done: a full run is due at once.',
  },
  sync_mark_missing: {
    title: 'Increments go on without the list {list}',
    explanation:
      'It tells what has changed since a mark, and the last full run could not take one. What it tells is left to full runs.',
    remedy: 'Look up in the last full run what the list needs, grant it, and run a full sync.',
  },
  sync_process_ended: {
    title: 'The run ended its process again and again',
    explanation:
      'It was begun several times and each time the process ended before a page was kept, so it is set aside.',
    remedy:
      'Look into the log and at the memory of the machine around the time of the run, then start the sync again.',
  },
  sync_secrets_sealed: {
    title: 'The secrets of the configuration do not open',
    explanation: 'The key that sealed them is missing here, or what is stored was changed.',
    remedy: 'Start the server with the key that the audit trail names, then run the sync again.',
  },
  sync_not_supported: {
    title: 'Entities of this source are not read',
    explanation: 'The source can be validated, and its entities cannot be synchronised by this release.',
    remedy: 'Switch the sync of this configuration off: settings.sync.enabled = false.',
  },
  sync_config_changes: {
    title: 'The configuration was changed during every attempt',
    explanation:
      'What the run had read belonged to earlier credentials or another domain, so it was not applied.',
    remedy: 'Run the sync again once the configuration stays as it is.',
  },
  sync_approval_outdated: {
    title: 'The configuration was changed since the run was read',
    explanation: 'What was approved belongs to earlier credentials or another domain, so it was not applied.',
    remedy: 'Run a full sync again; if it would remove as much, it will ask for approval again.',
  },
  sync_stage_lost: {
    title: 'What the run had read is gone',
    explanation:
      'It is kept where a crash of the database loses it, and there was one before the run was applied.',
    remedy: 'Run a full sync again; if it was approved, it will ask for approval again.',
  },
  internal_error: {
    title: 'The run met a mistake of this program',
    explanation: 'It is in the log of the server, with the id of the run. Nothing of the run was applied.',
    remedy: 'Run the sync again; if it recurs, report it with the log.',
  },
} as const satisfies Readonly<Record<string, Words>>

export type SyncCause = keyof typeof syncCauses

export const failureOf = (code: SyncCause, list?: string): SyncFailure =>
  new SyncFailure(
    {
      code,
      ...syncCauses[code],
      title: syncCauses[code].title.replace('{list}', list ?? ''),
      ...(list !== undefined && { list }),
    },
    code === 'sync_mark_lost',
  )

/** What a failure to read means, as the source's own check of that capability would be diagnosed. */
export function diagnoseReading(
  { source, target }: Pick<OpenedConfig, 'source' | 'target'>,
  error: SourceError,
  capability: EntityType,
): Diagnosis {
  const deciding = source.checks.filter(({ stage }) => stage === 'capability')
  const check = deciding.find((one) => one.capability === capability) ?? deciding[0] ?? source.checks[0]
  if (check === undefined) throw error
  return source.diagnose(error, check, target)
}

/** The same for people, without the secrets that a provider may have repeated. */
export function readingError(
  { redact }: Pick<OpenedConfig, 'redact'>,
  { cause }: Diagnosis,
  error: SourceError,
  list: string,
): RunError {
  const { status, providerCode, providerMessage } = error
  const provider = {
    ...(status !== undefined && { status }),
    ...(providerCode !== undefined && { code: providerCode }),
    ...(providerMessage !== undefined && { message: providerMessage }),
  }
  return {
    ...redact(cause),
    code: cause.code,
    list,
    ...(Object.keys(provider).length > 0 && { provider: redact(provider) }),
  }
}
