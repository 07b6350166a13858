/** `credence keys`: makes, lists and revokes keys, whether or not a server runs. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { KeyListing } from '../store/keys.ts'
import { permissionNames, resolvePermissions } from '../store/permissions.ts'
import { dataDirOption } from './data-dir.ts'
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
      new Option('--permissions <list>', `separated by commas: ${permissionNames}`)
        .argParser(permissionList)
        .makeOptionMandatory(),
    )
    .option('--organization <name>', 'whose key it is, by name or id; made when it is new', 'default')
    .option('--name <text>', 'to tell it from other keys')
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
    .description('revoke a key for good; every server refuses it within seconds')
    .argument('<id>', 'as in keys list')
    .addOption(dataDirOption())
    .action(revoke)
}

function permissionList(text: string): string[] {
  const names = text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
  if (names.length === 0 || resolvePermissions(names).unknown.length > 0) {
    throw new InvalidArgumentError(`There are ${permissionNames}.`)
  }
  return names
}

/** Slow to load, and not needed by commands that only validate. */
const store = async () => ({
  ...(await import('./stored-data.ts')),
  ...(await import('../store/keys.ts')),
})

async function create(
  options: KeysOptions & {
    readonly permissions: readonly string[]
    readonly organization: string
    readonly name?: string
    readonly accessToken?: 'personal' | 'service'
  },
): Promise<void> {
  const { dataDir, permissions, organization, name, accessToken, json } = options
  const { withDatabase, createKey, createAccessToken } = await store()
  const made = await withDatabase<object>(dataDir, (database) => {
    const wanted = { database, permissions, organization, ...(name !== undefined && { name }) }
    return accessToken === undefined
      ? createKey(wanted)
      : createAccessToken({ ...wanted, kind: `${accessToken}_access_token` })
  })
  const lines = Object.entries(made).map(([member, value]) => `${member.padEnd(15)}  ${value}\n`)
  await write(process.stdout, json ? jsonLine(made) : lines.join(''))
}

async function list({ dataDir, json }: KeysOptions): Promise<void> {
  const { withDatabase, listKeys } = await store()
  const keys = await withDatabase(dataDir, (database) => listKeys({ database }))
  await write(process.stdout, json ? jsonLine({ keys: keys.map(keyDocument) }) : keys.map(keyText).join(''))
}

async function revoke(id: string, { dataDir }: KeysOptions): Promise<void> {
  const { withDatabase, revokeKey } = await store()
  await withDatabase(dataDir, (database) => revokeKey({ database, id }))
  await write(process.stdout, `revoked ${printable(id)}\n`)
}

const keyDocument = (key: KeyListing) => ({
  id: key.id,
  kind: key.kind,
  ...(key.name !== undefined && { name: key.name }),
  prefix: key.prefix,
  organization: key.organization.name,
  permissions: key.permissions,
  created_at: key.createdAt,
  ...(key.revokedAt !== undefined && { revoked_at: key.revokedAt }),
})

const keyText = (key: KeyListing) =>
  `${[
    key.id,
    `${key.prefix}…`,
    printable(key.organization.name),
    key.permissions.join(','),
    `created ${key.createdAt}`,
    ...(key.revokedAt === undefined ? [] : [`revoked ${key.revokedAt}`]),
    ...(key.name === undefined ? [] : [printable(key.name)]),
  ].join('  ')}\n`
