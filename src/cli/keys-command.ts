/** `credence keys`: makes, lists and revokes the keys of a data directory, whether or not a server runs on it. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import {
  createAccessToken,
  createKey,
  type KeyListing,
  KeysError,
  listKeys,
  revokeKey,
} from '../store/keys.ts'
import { isPermission, permissions } from '../store/permissions.ts'
import { dataDirOption, describeFailure } from './data-dir.ts'
import { CommandError } from './exit-codes.ts'
import { jsonLine, printable, write } from './terminal.ts'

interface KeysOptions {
  readonly dataDir: string
  readonly json?: boolean
}

export function addKeysCommand(program: Command): void {
  const keys = program.command('keys').description('make, list and revoke API keys')

  keys
    .command('create')
    .description('make an API key with its application key, or an access token; shown this once')
    .addOption(
      new Option('--permissions <list>', `separated by commas: ${permissions.join(', ')}`)
        .argParser(permissionList)
        .makeOptionMandatory(),
    )
    .option('--organization <name>', 'whose key it is; made when it is new', 'default')
    .addOption(
      new Option(
        '--access-token <kind>',
        'make one token, for Authorization: Bearer, instead of a key pair',
      ).choices(['personal', 'service']),
    )
    .addOption(dataDirOption())
    .option('--json', 'print one JSON object')
    .action(create)

  keys
    .command('list')
    .description('list the keys, revoked ones included; never what would let somebody use them')
    .addOption(dataDirOption())
    .option('--json', 'print one JSON document')
    .action(list)

  keys
    .command('revoke')
    .description('revoke a key for good')
    .argument('<id>', 'as in keys list')
    .addOption(dataDirOption())
    .action(revoke)
}

function permissionList(text: string): string[] {
  const names = text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
  if (names.length === 0 || !names.every(isPermission)) {
    throw new InvalidArgumentError(`There are ${permissions.join(', ')}.`)
  }
  return names
}

async function create(
  options: KeysOptions & {
    readonly permissions: readonly string[]
    readonly organization: string
    readonly accessToken?: 'personal' | 'service'
  },
): Promise<void> {
  const { dataDir, permissions, organization, accessToken, json } = options
  const made = await keysOf<object>(dataDir, () =>
    accessToken === undefined
      ? createKey({ dataDir, permissions, organization })
      : createAccessToken({ dataDir, permissions, organization, kind: `${accessToken}_access_token` }),
  )
  const lines = Object.entries(made).map(([name, value]) => `${name.padEnd(15)}  ${value}\n`)
  await write(process.stdout, json ? jsonLine(made) : lines.join(''))
}

async function list({ dataDir, json }: KeysOptions): Promise<void> {
  const keys = await keysOf(dataDir, () => listKeys({ dataDir }))
  await write(process.stdout, json ? jsonLine({ keys: keys.map(keyDocument) }) : keys.map(keyText).join(''))
}

async function revoke(id: string, { dataDir }: KeysOptions): Promise<void> {
  await keysOf(dataDir, () => revokeKey({ dataDir, id }))
  await write(process.stdout, `revoked ${printable(id)}\n`)
}

async function keysOf<T>(dataDir: string, use: () => Promise<T>): Promise<T> {
  try {
    return await use()
  } catch (error) {
    if (error instanceof KeysError) throw new CommandError(error.message)
    throw describeFailure(error, dataDir)
  }
}

const keyDocument = ({ id, kind, prefix, organization, permissions, createdAt, revokedAt }: KeyListing) => ({
  id,
  kind,
  prefix,
  organization: organization.name,
  permissions,
  created_at: createdAt,
  ...(revokedAt !== undefined && { revoked_at: revokedAt }),
})

const keyText = ({ id, prefix, organization, permissions, createdAt, revokedAt }: KeyListing) =>
  `${[
    id,
    `${prefix}…`,
    printable(organization.name),
    permissions.join(','),
    `created ${createdAt}`,
    ...(revokedAt === undefined ? [] : [`revoked ${revokedAt}`]),
  ].join('  ')}\n`
