/** `credence orgs`: makes and lists organisations, whether or not a server runs. */
import type { Command } from 'commander'
import type { OrganizationListing } from '../store/organizations.ts'
import { dataDirOption } from './data-dir.ts'
import { jsonLine, printable, write } from './terminal.ts'

interface OrgsOptions {
  readonly dataDir: string
  readonly json?: boolean
}

export function addOrgsCommand(program: Command): void {
  const orgs = program.command('orgs').description('make and list organisations')

  orgs
    .command('create')
    .description('make an organisation; keys and tokens that name a new one make it too')
    .argument('<name>')
    .addOption(dataDirOption())
    .option('--json', 'print one JSON object')
    .action(create)

  orgs
    .command('list')
    .description('list the organisations')
    .addOption(dataDirOption())
    .option('--json', 'print one JSON document')
    .action(list)
}

/** Slow to load, and not needed by commands that only validate. */
const store = async () => ({
  ...(await import('./stored-data.ts')),
  ...(await import('../store/organizations.ts')),
})

async function create(name: string, { dataDir, json }: OrgsOptions): Promise<void> {
  const { withDatabase, createOrganization } = await store()
  const made = await withDatabase(dataDir, (database) =>
    createOrganization(database, { name, actor: { id: 'cli' } }),
  )
  await write(process.stdout, json ? jsonLine(made) : `${made.id}  ${printable(made.name)}\n`)
}

async function list({ dataDir, json }: OrgsOptions): Promise<void> {
  const { withDatabase, listOrganizations } = await store()
  const all = await withDatabase(dataDir, listOrganizations)
  await write(
    process.stdout,
    json ? jsonLine({ organizations: all.map(documentOf) }) : all.map(textOf).join(''),
  )
}

const documentOf = ({ id, name, createdAt }: OrganizationListing) => ({ id, name, created_at: createdAt })

const textOf = ({ id, name, createdAt }: OrganizationListing) =>
  `${id}  ${printable(name)}  created ${createdAt}\n`
