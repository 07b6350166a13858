/** `credence backup` and `credence restore`: all that is stored in one file, and an empty database made of it again. */
import { type Command, InvalidArgumentError } from 'commander'
import { readDatabaseUrl, readVaultKeySettings } from '../config.ts'
import type { BackupSummary, Keepable, RestoreSummary } from '../store/backup.ts'
import { dataDirOption, describeFailure } from './data-dir.ts'
import { CommandError, exitCodes, UsageError } from './exit-codes.ts'
import { jsonLine, printable, write } from './terminal.ts'
import { version } from './version.ts'

interface BackupOptions {
  readonly dataDir: string
  readonly json?: boolean
}

interface RestoreOptions extends BackupOptions {
  readonly keep?: readonly Keepable[]
}

/** As in store/backup.ts, which is slow to load. */
const keepable = ['keys', 'configurations', 'webhooks', 'bindings'] as const satisfies readonly Keepable[]

const where =
  'The database is that of DATABASE_URL where it is set, otherwise the embedded one in --data-dir; servers may run meanwhile.'

const backupHelp = `
${where}
The secrets in the file are sealed: to use it you need the vault keys that the command names, which are not in it.

Exit status: ${exitCodes.ok} written; ${exitCodes.no} not written, and no file is left.`

const restoreHelp = `
The database has to hold nothing: give a new --data-dir, or the DATABASE_URL of an empty database.
What was revoked, deleted or switched off after the backup was taken must not revive by itself. So keys come back
revoked, configurations and webhooks switched off, and registrations bound to nobody, unless --keep names them:
  $ credence restore credence.backup --keep keys,configurations,webhooks,bindings

Exit status: ${exitCodes.ok} restored; ${exitCodes.no} not restored, and the database is as it was.`

/** Slow to load, and not needed by other commands. */
const store = async () => ({
  ...(await import('../store/backup.ts')),
  ...(await import('../store/database.ts')),
  ...(await import('../store/inspection.ts')),
  ...(await import('../vault/keys.ts')),
  ...(await import('./store-failure.ts')),
})

export function addBackupCommands(program: Command): void {
  program
    .command('backup')
    .description('write all that is stored into one new file, while servers run')
    .argument('<file>', 'must not exist yet')
    .addOption(dataDirOption())
    .option('--json', 'print one JSON object')
    .addHelpText('after', backupHelp)
    .action(takeBackup)

  program
    .command('restore')
    .description('fill an empty database from a backup, wholly or not at all')
    .argument('<file>', 'as credence backup wrote it')
    .option(
      '--keep <list>',
      `bring back as active what you know to be as it should be now: ${keepable.join(', ')}`,
      keepList,
    )
    .addOption(dataDirOption())
    .option('--json', 'print one JSON object')
    .addHelpText('after', restoreHelp)
    .action(restoreBackup)
}

function keepList(text: string): Keepable[] {
  const names = text.split(',').map((name) => name.trim())
  const known = keepable.filter((one) => names.includes(one))
  if (names.some((name) => !known.some((one) => one === name)))
    throw new InvalidArgumentError(`There are ${keepable.join(', ')}.`)
  return known
}

async function takeBackup(file: string, { dataDir, json }: BackupOptions): Promise<void> {
  const url = readDatabaseUrl()
  const { backup, connect, hasEmbeddedDatabase } = await store()
  // Opening the embedded database would make one.
  if (url === undefined && !hasEmbeddedDatabase(dataDir))
    throw new CommandError(`there is no database in ${printable(dataDir)}; name its folder with --data-dir`)
  const summary = await told(dataDir, () =>
    whileShown('writing', async () => {
      // Not migrated: a backup is taken before a newer release changes the tables.
      const database = await connect({
        dataDirectory: dataDir,
        poolSize: 1,
        ...(url !== undefined && { url }),
      })
      try {
        return await backup(database, file, version())
      } finally {
        await database.close()
      }
    }),
  )
  await write(
    process.stdout,
    json ? jsonLine({ file, ...backupDocument(summary) }) : backupText(file, summary),
  )
}

const backupDocument = ({ takenAt, rows, vaultKeyIds }: BackupSummary) => ({
  taken_at: takenAt,
  rows,
  vault_keys: vaultKeyIds,
})

const backupText = (file: string, { takenAt, rows, vaultKeyIds }: BackupSummary) =>
  [
    `${printable(file)}: ${rows} rows as of ${takenAt}`,
    vaultKeyIds.length === 0
      ? 'no secrets are in it'
      : `its secrets open with the vault ${keysNamed(vaultKeyIds)} alone: keep ${vaultKeyIds.length === 1 ? 'it' : 'them'}, but elsewhere`,
    '',
  ].join('\n')

const keysNamed = (ids: readonly string[]) =>
  `${ids.length === 1 ? 'key' : 'keys'} ${ids.map(printable).join(', ')}`

async function restoreBackup(file: string, { dataDir, json, keep = [] }: RestoreOptions): Promise<void> {
  const url = readDatabaseUrl()
  const vaultKeyIds = await configuredKeyIds()
  const { restore } = await store()
  const summary = await told(dataDir, () =>
    whileShown('restoring', () =>
      restore({ dataDirectory: dataDir, ...(url !== undefined && { url }) }, file, { keep, vaultKeyIds }),
    ),
  )
  await write(process.stdout, json ? jsonLine(restoreDocument(summary)) : restoreText(file, summary))
}

/** None where none are configured: a backup can be restored before its keys are at hand. */
async function configuredKeyIds(): Promise<string[]> {
  const settings = readVaultKeySettings()
  if ([settings.text, settings.file, settings.command].every((one) => one === undefined)) return []
  const { loadVaultKeys, VaultKeysError } = await store()
  try {
    return (await loadVaultKeys(settings)).map(({ id }) => id)
  } catch (error) {
    if (error instanceof VaultKeysError) throw new UsageError(error.message)
    throw error
  }
}

const restoreDocument = (summary: RestoreSummary) => ({
  taken_at: summary.takenAt,
  release: summary.release,
  rows: summary.rows,
  active: summary.active,
  kept: summary.kept,
  vault_keys: summary.vaultKeyIds,
  missing_vault_keys: summary.missingVaultKeyIds,
})

/** What became of what was active in the backup. */
const heldBack: Readonly<Record<Keepable, string>> = {
  keys: 'revoked; make new ones with credence keys create',
  configurations: 'switched off; credence configs update ID --enable switches one on',
  webhooks: 'switched off',
  bindings: 'taken away; credence registrations bind gives one back',
}

function restoreText(file: string, summary: RestoreSummary): string {
  const { takenAt, release, rows, active, kept, missingVaultKeyIds } = summary
  return [
    `${printable(file)}: ${rows} rows as of ${takenAt}, written by release ${printable(release)}`,
    ...keepable
      .filter((what) => active[what] > 0)
      .map((what) => `${active[what]} ${what}: ${kept.includes(what) ? 'active again' : heldBack[what]}`),
    ...(missingVaultKeyIds.length === 0
      ? []
      : [
          `not configured here: the vault ${keysNamed(missingVaultKeyIds)}, without which no server starts on this database`,
        ]),
    '',
  ].join('\n')
}

/** @throws CommandError for what files, database and vault say */
async function told<T>(dataDir: string, work: () => Promise<T>): Promise<T> {
  const { BackupError, describeStoreFailure } = await store()
  try {
    return await work()
  } catch (error) {
    if (error instanceof BackupError) throw new CommandError(printable(error.message))
    throw describeStoreFailure(error) ?? describeFailure(error, dataDir)
  }
}

/** One line that tells for how long it has been going on, on a terminal alone. */
async function whileShown<T>(what: string, work: () => Promise<T>): Promise<T> {
  const { stderr } = process
  if (!stderr.isTTY) return work()
  const startedAt = performance.now()
  const show = () => stderr.write(`\r\x1b[K${what}, ${Math.round((performance.now() - startedAt) / 1_000)} s`)
  show()
  const timer = setInterval(show, 1_000)
  try {
    return await work()
  } finally {
    clearInterval(timer)
    stderr.write('\r\x1b[K')
  }
}
