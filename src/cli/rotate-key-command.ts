/** `credence rotate-key`: puts stored secrets under the vault key that is configured first, and retires old keys. */
import type { Command } from 'commander'
import type { Rotation, RotationProgress } from '../store/rotation.ts'
import { dataDirOption } from './data-dir.ts'
import { CommandError, exitCodes, UsageError } from './exit-codes.ts'
import { jsonLine, printable, write } from './terminal.ts'

interface RotateOptions {
  readonly dataDir: string
  readonly retire?: string
  readonly json?: boolean
}

const help = `
To replace the key "old" by "new" while servers run:
  1. $ credence vault generate-key, and keep what it prints where the old key is kept.
  2. Start every server with CREDENCE_VAULT_KEY=old:…,new:… so that all can open what any of them seals.
  3. Start every server with CREDENCE_VAULT_KEY=new:…,old:… and run, with the same keys: $ credence rotate-key
  4. Start every server with CREDENCE_VAULT_KEY=new:… and run: $ credence rotate-key --retire old
A rotation that was interrupted is run again. Backups made before it still need the old key.

Exit status: ${exitCodes.ok} everything is under the first key; ${exitCodes.no} something is not, and it is named.`

const actor = { id: 'cli' }

/** Slow to load, and not needed by other commands. */
const store = async () => ({
  ...(await import('./stored-data.ts')),
  ...(await import('../store/rotation.ts')),
  ...(await import('../store/vault-keys.ts')),
  ...(await import('../vault/vault.ts')),
})

export function addRotateKeyCommand(program: Command): void {
  program
    .command('rotate-key')
    .description('put all stored secrets under the first of the configured vault keys, while servers run')
    .option('--retire <id>', 'end the use of a vault key under which nothing is sealed any more')
    .addOption(dataDirOption())
    .option('--json', 'print one JSON object')
    .addHelpText('after', help)
    .action(async (options: RotateOptions) => {
      if (options.retire === undefined) await rotate(options)
      else await retire(options.retire, options)
    })
}

async function rotate({ dataDir, json }: RotateOptions): Promise<void> {
  const { configuredVaultKeys, openVaultOf, rotateEnvelopes, VaultError, withDatabase } = await store()
  const keys = await configuredVaultKeys()
  const rotation = await withDatabase(dataDir, async (database) => {
    const vault = await openVaultOf(database, keys)
    const progress = showProgress(process.stderr)
    try {
      return await rotateEnvelopes(database, vault, actor, { onProgress: progress.tell })
    } catch (error) {
      if (error instanceof VaultError) throw new CommandError(error.message)
      throw error
    } finally {
      progress.clear()
    }
  })
  await write(process.stdout, json ? jsonLine(rotationDocument(rotation)) : rotationText(rotation))
  if (Object.keys(rotation.remaining).length > 0) process.exitCode = exitCodes.no
}

/** One line that is written over, on a terminal alone. */
function showProgress(stream: NodeJS.WriteStream) {
  const clear = () => {
    if (stream.isTTY) stream.write('\r\x1b[K')
  }
  return {
    clear,
    tell({ rewrapped, total }: RotationProgress) {
      clear()
      if (stream.isTTY) stream.write(`${rewrapped} of ${total}`)
    },
  }
}

const rotationDocument = ({ keyId, rewrapped, broken, remaining }: Rotation) => ({
  key: keyId,
  rewrapped,
  broken: broken.map((one) => ({ id: one.ownerId, key: one.keyId })),
  remaining,
})

function rotationText({ keyId, rewrapped, broken, remaining }: Rotation): string {
  const left = Object.entries(remaining)
  const lines = [
    `${rewrapped} re-wrapped under the vault key ${keyId}, each opened before and after`,
    ...broken.map(
      (one) =>
        `broken: the secrets of ${one.ownerId}, sealed with ${one.keyId}, were changed, moved or left without their owner; they were not touched`,
    ),
    ...left.map(([id, count]) => `${count} still under ${id}`),
    ...(left.length > 0 && broken.length === 0
      ? ['a server that seals with another key first is running: change its keys, then run this again']
      : []),
  ]
  return `${lines.join('\n')}\n`
}

async function retire(id: string, { dataDir, json }: RotateOptions): Promise<void> {
  const { configuredVaultKeys, RetireRefused, retireVaultKey, withDatabase } = await store()
  const [first] = await configuredVaultKeys()
  if (first.id === id)
    throw new UsageError(
      `--retire: ${printable(id)} is the key that seals; configure another one first and run credence rotate-key`,
    )
  await withDatabase(dataDir, async (database) => {
    try {
      await retireVaultKey(database, actor, id)
    } catch (error) {
      if (error instanceof RetireRefused) throw new CommandError(printable(error.message))
      throw error
    }
  })
  await write(
    process.stdout,
    json
      ? jsonLine({ retired: id })
      : `${printable(id)} is retired: no server starts with it any more. Keep it for as long as you keep backups from before.\n`,
  )
}
