/** `credence vault`: makes vault keys, and lists what was unsealed. */
import type { Command } from 'commander'
import type { Unsealing } from '../store/unsealings.ts'
import { generateVaultKey } from '../vault/keys.ts'
import { dataDirOption } from './data-dir.ts'
import { moment } from './moment.ts'
import { jsonLine, printable, write } from './terminal.ts'

interface UnsealedOptions {
  readonly since: Date
  readonly dataDir: string
  readonly json?: boolean
}

export function addVaultCommand(program: Command): void {
  const vault = program.command('vault').description('make vault keys, list what was unsealed')

  vault
    .command('generate-key')
    .description(
      'print a new vault key, <id>:<base64>, for CREDENCE_VAULT_KEY; whoever has it and the database has the secrets, whoever loses it loses them',
    )
    .action(() => write(process.stdout, `${generateVaultKey()}\n`))

  vault
    .command('unsealed')
    .description(
      'list the stored secrets that were opened since a moment, by whom and why: what to replace after an intrusion',
    )
    .requiredOption(
      '--since <time>',
      'RFC 3339 such as 2026-11-24T06:00:00Z, a day (from midnight UTC), or now-7d, now-12h, now-30m',
      moment,
    )
    .addOption(dataDirOption())
    .option('--json', 'print one JSON object a line')
    .action(unsealed)
}

async function unsealed({ since, dataDir, json }: UnsealedOptions): Promise<void> {
  // Slow to load, and not needed by other commands.
  const { withDatabase } = await import('./stored-data.ts')
  const { unsealedSince } = await import('../store/unsealings.ts')
  await withDatabase(dataDir, async ({ query }) => {
    for await (const one of unsealedSince(query, since))
      await write(process.stdout, json ? jsonLine(unsealingDocument(one)) : unsealingText(one))
  })
}

const unsealingDocument = (one: Unsealing) => ({
  at: one.at.toISOString(),
  actor: one.actor,
  reason: one.reason,
  id: one.ownerId,
  type: one.type,
  domain: one.domain,
  organization_id: one.organizationId,
  address: one.address,
})

const unsealingText = ({ at, actor, reason, ownerId, type, domain, organizationId, address }: Unsealing) =>
  `${[
    at.toISOString(),
    ownerId,
    type ?? 'unknown',
    ...(domain === undefined ? [] : [domain]),
    ...(organizationId === undefined ? [] : [`of ${organizationId}`]),
    `by ${actor}${address === undefined ? '' : ` from ${address}`}`,
    ...(reason === undefined ? [] : [`for ${reason}`]),
  ]
    .map(printable)
    .join('  ')}\n`
