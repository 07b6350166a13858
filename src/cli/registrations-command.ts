/** `credence registrations`: the operator's own app registrations and service accounts, and whom they serve. */
import type { Command } from 'commander'
import { variable } from '../config.ts'
import { type AnySource, createSources } from '../sources/registry.ts'
import type { Database } from '../store/database.ts'
import type { BindingRequest, Bound, Registration } from '../store/registrations.ts'
import { addCredentialOptions, readCredentials } from './credential-options.ts'
import { dataDirOption } from './data-dir.ts'
import { CommandError } from './exit-codes.ts'
import { jsonLine, printable, write } from './terminal.ts'

interface CommonOptions {
  readonly dataDir: string
  readonly json?: boolean
}

const actor = { id: 'cli' }

/** Slow to load, and not needed by other commands. */
const store = async () => ({
  ...(await import('./stored-data.ts')),
  ...(await import('../store/registrations.ts')),
})
type Store = Awaited<ReturnType<typeof store>>

export function addRegistrationsCommand(program: Command): void {
  const registrations = program
    .command('registrations')
    .description('keep credentials of your own that serve the organisations and domains you bind to them')
  const sources = createSources()

  const add = registrations.command('add').description('seal credentials and keep them')
  for (const source of sources) if (source.operator !== undefined) addSource(add, source)

  registrations
    .command('list')
    .description('list registrations and what they serve; never their secrets')
    .addOption(dataDirOption())
    .option('--json', 'print one JSON document')
    .action(list)

  addBindingCommand(registrations, 'bind', 'let a registration serve a domain for an organisation')
    .option('--replace', 'take the domain over from the registration that serves it now')
    .action(async (registration: string, options: BindOptions) => {
      const bound = await inStore(options.dataDir, (database, { bindRegistration }) =>
        bindRegistration(
          database,
          actor,
          sources,
          { ...options, registration },
          { replace: options.replace === true },
        ),
      )
      await tellBinding(options, bound, 'serves')
    })
  addBindingCommand(registrations, 'unbind', 'end that a registration serves a domain').action(
    async (registration: string, options: BindOptions) => {
      const bound = await inStore(options.dataDir, (database, { unbindRegistration }) =>
        unbindRegistration(database, actor, sources, { ...options, registration }),
      )
      await tellBinding(options, bound, 'serves no more')
    },
  )

  registrations
    .command('remove')
    .description('remove a registration that serves nothing, and destroy its secrets')
    .argument('<registration>', 'name or id')
    .addOption(dataDirOption())
    .option('--json', 'print one JSON object')
    .action(async (registration: string, { dataDir, json }: CommonOptions) => {
      const removed = await inStore(dataDir, (database, { removeRegistration }) =>
        removeRegistration(database, actor, registration),
      )
      await write(process.stdout, json ? jsonLine(removed) : `removed ${removed.id}\n`)
    })
}

/** The source as the operator's credentials for it are read: by the same options, files and variables as a customer's. */
function operatorsOwn(source: AnySource): AnySource {
  const { operator, ...rest } = source
  if (operator === undefined) throw new Error(`${source.name} takes no credentials of the operator`)
  const { schema, fields } = operator
  return {
    ...rest,
    credentialKinds: [{ kind: 'operator', title: source.title, fields, schema }],
    readCredentials: (secrets) => {
      const read = schema.safeParse(secrets)
      return read.success
        ? { ok: true, credentials: read.data }
        : {
            ok: false,
            faults: read.error.issues.map(({ path }) => ({
              field: `secrets.${path.join('.')}`,
              expected: 'to be given',
            })),
          }
    },
  }
}

function addSource(add: Command, source: AnySource): void {
  const own = operatorsOwn(source)
  const command = add
    .command(source.name)
    .description(`keep credentials of yours for ${source.title}`)
    .requiredOption('--name <name>', 'for people, to tell it from others')
  addCredentialOptions(command, own)
  command
    .addOption(dataDirOption())
    .option('--json', 'print one JSON object')
    .action(async ({ name, ...options }: CommonOptions & { readonly name: string }) => {
      const { stdin, stderr } = process
      const entry = await readCredentials(own, { ...options }, { stdin, stderr, variable })
      const keys = await (await store()).configuredVaultKeys()
      const made = await inStore(options.dataDir, async (database, { createRegistration, openVaultOf }) =>
        createRegistration(database, await openVaultOf(database, keys), actor, { source, name, entry }),
      )
      await write(
        process.stdout,
        options.json ? jsonLine(made) : `${[made.id, ...attributeTexts(made.attributes)].join('  ')}\n`,
      )
    })
}

interface BindOptions extends CommonOptions, Omit<BindingRequest, 'registration'> {
  readonly replace?: boolean
}

const addBindingCommand = (registrations: Command, verb: string, description: string) =>
  registrations
    .command(verb)
    .description(description)
    .argument('<registration>', 'name or id')
    .requiredOption('--organization <name>', 'name or id of the organisation')
    .requiredOption('--domain <domain>', "the organisation's domain at the provider")
    .addOption(dataDirOption())
    .option('--json', 'print one JSON object')

async function tellBinding(
  { json }: BindOptions,
  { registrationId, organization, domain }: Bound,
  what: string,
): Promise<void> {
  await write(
    process.stdout,
    json
      ? jsonLine({ id: registrationId, organization: organization.name, domain })
      : `${registrationId} ${what} ${printable(domain)} for ${printable(organization.name)}\n`,
  )
}

async function list({ dataDir, json }: CommonOptions): Promise<void> {
  const found = await inStore(dataDir, ({ query }, { listRegistrations }) => listRegistrations(query))
  await write(
    process.stdout,
    json
      ? jsonLine({ registrations: found.map(registrationDocument) })
      : found.map(registrationText).join(''),
  )
}

const registrationDocument = ({ id, source, name, attributes, createdAt, bindings }: Registration) => ({
  id,
  source,
  name,
  attributes,
  created_at: createdAt.toISOString(),
  bindings: bindings.map(({ organization, domain }) => ({ organization: organization.name, domain })),
})

const registrationText = ({ id, source, name, attributes, bindings }: Registration) =>
  [
    [id, source, printable(name), ...attributeTexts(attributes)].join('  '),
    ...bindings.map(
      ({ organization, domain }) => `  serves ${printable(domain)} for ${printable(organization.name)}`,
    ),
    '',
  ].join('\n')

const attributeTexts = (attributes: Registration['attributes']) =>
  Object.entries(attributes).map(([name, value]) => `${name}=${printable(value)}`)

/** @throws CommandError in place of RegistrationError */
async function inStore<T>(
  dataDir: string,
  work: (database: Database, parts: Store) => Promise<T>,
): Promise<T> {
  const parts = await store()
  return parts.withDatabase(dataDir, async (database) => {
    try {
      return await work(database, parts)
    } catch (error) {
      if (error instanceof parts.RegistrationError) throw new CommandError(printable(error.message))
      throw error
    }
  })
}
