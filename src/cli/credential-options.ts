/** A source's credentials on the command line: its options are made from the fields that the source declares. */
import { type Command, Option } from 'commander'
import type { AnySource } from '../sources/registry.ts'
import type { CredentialField, FieldFault } from '../sources/source.ts'
import { UsageError } from './exit-codes.ts'
import { readSecretFile, readSecretInput, secretText } from './secret-input.ts'
import { printable } from './terminal.ts'

/** How a field is given. A secret, and what is always kept in a file, is never an argument. */
interface FieldOptions {
  readonly field: CredentialField
  /** `client-id`, `api-token`; without `_json`, since only the content is JSON. */
  readonly base: string
  readonly isArgument: boolean
  /** `CREDENCE_OKTA_API_TOKEN`; secrets alone have one. */
  readonly variable: string | undefined
}

/** Where values are read from. */
export interface CredentialInput {
  readonly stdin: NodeJS.ReadStream
  readonly stderr: NodeJS.WriteStream
  variable(name: string): string | undefined
  /** Ends the wait for an input that does not come. */
  readonly signal?: AbortSignal
}

/** The values of a command's options, by name in camel case, as commander gives them. */
type OptionValues = Readonly<Record<string, unknown>>

export function addCredentialOptions(command: Command, source: AnySource): void {
  for (const given of fieldOptionsOf(source)) {
    const { field, base, isArgument } = given
    if (isArgument) {
      const option = new Option(`--${base} <${lastWord(base)}>`, `${field.title}. ${field.help}`)
      command.addOption(field.choices === undefined ? option : option.choices([...field.choices]))
      continue
    }
    command.option(
      `--${base}-file <file>`,
      `${field.title}, from a file ("-" is standard input). ${field.help}`,
    )
    command.option(`--${base}-stdin`, `${field.title}, from standard input`)
    for (const name of new Set([base, dashed(field.name)])) refuseArgument(command, name, given)
  }
}

/** The options of several sources on one command; which of them mean anything is known when the source is. */
export function addCredentialOptionsOfAll(command: Command, sources: readonly AnySource[]): void {
  const groups = Map.groupBy(
    sources.flatMap((source) => fieldOptionsOf(source).map((given) => ({ ...given, source }))),
    ({ base }) => base,
  )
  for (const [base, givens] of groups) {
    const what = givens.map(({ source, field }) => `${source.title}: ${field.title}`).join('; ')
    if (givens.some(({ isArgument }) => isArgument)) command.option(`--${base} <${lastWord(base)}>`, what)
    if (givens.every(({ isArgument }) => isArgument)) continue
    command.option(`--${base}-file <file>`, `from a file ("-" is standard input). ${what}`)
    command.option(`--${base}-stdin`, 'the same from standard input')
    for (const given of givens)
      for (const name of new Set([base, dashed(given.field.name)]))
        if (command.options.every(({ long }) => long !== `--${name}`)) refuseArgument(command, name, given)
  }
}

/** Whether any option of `source` was given. @throws UsageError for one that other sources alone have */
export function givesCredentials(
  source: AnySource,
  sources: readonly AnySource[],
  values: OptionValues,
): boolean {
  const own = new Set(fieldOptionsOf(source).flatMap(optionNames))
  const given = sources
    .flatMap((one) => fieldOptionsOf(one).flatMap(optionNames))
    .filter((name) => values[camelCase(name)] !== undefined)
  const foreign = given.find((name) => !own.has(name))
  if (foreign !== undefined) throw new UsageError(`--${foreign} is no option of ${source.title}`)
  return given.length > 0
}

const optionNames = ({ base, isArgument }: FieldOptions) =>
  isArgument ? [base] : [`${base}-file`, `${base}-stdin`]

/** Lines for the help text: the ways to give credentials, and the variables. */
export function credentialHelp(source: AnySource): string {
  const variables = fieldOptionsOf(source).flatMap(({ variable, field }) =>
    variable === undefined ? [] : [{ variable, title: field.title }],
  )
  const widest = Math.max(...variables.map(({ variable }) => variable.length))
  return [
    'Credentials, one of:',
    ...waysOf(source),
    '',
    'Secrets are never taken from arguments, which every user of the machine can read.',
    'Where no option gives a secret, it is read from the environment:',
    ...variables.map(({ variable, title }) => `  ${variable.padEnd(widest)}  ${title}`),
  ].join('\n')
}

/**
 * The credentials of `source` from options, files, standard input and the environment.
 *
 * @throws UsageError when something is missing, contradictory or unreadable; it names the option
 */
export async function readCredentials(
  source: AnySource,
  values: OptionValues,
  input: CredentialInput,
): Promise<unknown> {
  const secrets = await givenSecrets(source, values, input)
  if (Object.keys(secrets).length === 0) throw new UsageError(missingText(source))
  const credentials = understood(source, secrets)
  if (source.operator?.needed(credentials)) throw new UsageError(missingText(source))
  return credentials
}

/**
 * The same as a server is sent it, which may complete it: with the operator's credentials nothing has to be given.
 *
 * @throws UsageError
 */
export async function readSecrets(
  source: AnySource,
  values: OptionValues,
  input: CredentialInput,
): Promise<Readonly<Record<string, unknown>>> {
  const secrets = await givenSecrets(source, values, input)
  understood(source, secrets)
  return secrets
}

/** @throws UsageError for what is missing or contradictory */
function understood(source: AnySource, secrets: Readonly<Record<string, unknown>>): unknown {
  const isEmpty = Object.keys(secrets).length === 0
  const reading = source.readCredentials(isEmpty ? undefined : secrets)
  if (!reading.ok) throw new UsageError(isEmpty ? missingText(source) : faultText(source, reading.faults))
  return reading.credentials
}

async function givenSecrets(
  source: AnySource,
  values: OptionValues,
  input: CredentialInput,
): Promise<Record<string, unknown>> {
  const options = fieldOptionsOf(source)
  const secrets = await givenByOption(options, values, input)
  const fitting = source.credentialKinds.filter((kind) =>
    Object.keys(secrets).every((name) => kind.fields.some((field) => field.name === name)),
  )
  for (const { field, variable } of options) {
    // A variable only completes what the options began: one that is set for another kind contradicts nothing.
    const completes = fitting.some((kind) => kind.fields.some(({ name }) => name === field.name))
    if (variable === undefined || !completes || secrets[field.name] !== undefined) continue
    const value = input.variable(variable)
    if (value === undefined || value === '') continue
    secrets[field.name] = secretText(Buffer.from(value), variable, 'the variable')
  }
  return secrets
}

/**
 * Reads from this process's input within `timeoutSeconds`, unless a person types. A file that is a pipe without a
 * writer is waited for without limit: Node cannot leave off opening one.
 *
 * @throws UsageError when standard input does not end in time
 */
export async function inputInTime<T>(
  timeoutSeconds: number,
  variable: (name: string) => string | undefined,
  read: (input: CredentialInput) => Promise<T>,
): Promise<T> {
  const { stdin, stderr } = process
  if (stdin.isTTY) return read({ stdin, stderr, variable })
  const tooLate = new UsageError(
    `the secret did not come within ${timeoutSeconds} s (--timeout): standard input was not closed`,
  )
  const waiting = new AbortController()
  const timer = setTimeout(() => waiting.abort(tooLate), timeoutSeconds * 1_000)
  try {
    return await read({ stdin, stderr, variable, signal: waiting.signal })
  } finally {
    clearTimeout(timer)
  }
}

async function givenByOption(
  options: readonly FieldOptions[],
  values: OptionValues,
  input: CredentialInput,
): Promise<Record<string, unknown>> {
  const fromInput = options.flatMap((option) => inputOptionsIn(option, values))
  if (fromInput.length > 1) {
    throw new UsageError(
      `${fromInput.join(' and ')} both read standard input, which holds one secret: give the other one by a file`,
    )
  }
  const secrets: Record<string, unknown> = {}
  for (const { field, base, isArgument } of options) {
    if (isArgument) {
      const value = values[camelCase(base)]
      if (value !== undefined) secrets[field.name] = value
      continue
    }
    const file = values[camelCase(`${base}-file`)]
    const isInput = values[camelCase(`${base}-stdin`)] === true
    if (file === undefined && !isInput) continue
    if (file !== undefined && isInput) {
      throw new UsageError(`--${base}-file and --${base}-stdin give the same secret: choose one`)
    }
    const name = isInput ? `--${base}-stdin` : `--${base}-file`
    const text =
      isInput || file === '-'
        ? await readSecretInput(input.stdin, input.stderr, name, {
            multiline: field.document === true,
            ...(input.signal && { signal: input.signal }),
          })
        : await readSecretFile(String(file), name)
    secrets[field.name] = text
  }
  return secrets
}

function inputOptionsIn({ base, isArgument }: FieldOptions, values: OptionValues): string[] {
  if (isArgument) return []
  return [
    ...(values[camelCase(`${base}-stdin`)] === true ? [`--${base}-stdin`] : []),
    ...(values[camelCase(`${base}-file`)] === '-' ? [`--${base}-file -`] : []),
  ]
}

/** Every field of every kind, once, in the order of declaration. */
function fieldOptionsOf(source: AnySource): FieldOptions[] {
  const fields = new Map<string, CredentialField>()
  for (const field of source.credentialKinds.flatMap((kind) => kind.fields)) {
    if (!fields.has(field.name)) fields.set(field.name, field)
  }
  return [...fields.values()].map((field) => ({
    field,
    base: dashed(field.name.replace(/_json$/, '')),
    isArgument: !field.secret && field.document !== true,
    variable: field.secret
      ? `CREDENCE_${source.name}_${field.name}`.replaceAll('-', '_').toUpperCase()
      : undefined,
  }))
}

const dashed = (name: string) => name.replaceAll('_', '-')
const lastWord = (name: string) => name.replace(/^.*-/, '')
const camelCase = (name: string) => name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())

/** Makes `--api-token X` an error that explains itself and repeats nothing. */
function refuseArgument(command: Command, name: string, given: FieldOptions): void {
  command.addOption(new Option(`--${name} [value]`).hideHelp())
  command.on(`option:${name}`, () => {
    throw new UsageError(
      `--${name} is refused: every user of this machine can read arguments, and the shell keeps them in its history. ` +
        `Give it by ${waysOfField(given).join(', ')}. If what you typed was a real secret, replace it.`,
    )
  })
}

function waysOfField({ base, isArgument, variable }: FieldOptions): string[] {
  if (isArgument) return [`--${base}`]
  return [`--${base}-file`, `--${base}-stdin`, ...(variable === undefined ? [] : [variable])]
}

/** A line for each kind of credentials that can be given in full here: `  API token: --api-token-file F`. */
function waysOf(source: AnySource): string[] {
  const options = fieldOptionsOf(source)
  return source.credentialKinds
    .filter(({ fields }) => fields.some(({ secret }) => secret))
    .map(({ title, fields }) => {
      const parts = fields.flatMap(({ name, required }) => {
        const given = options.find(({ field }) => field.name === name)
        if (given === undefined) return []
        const { field, base, isArgument } = given
        const value = field.choices?.join('|') ?? lastWord(base).toUpperCase()
        const text = isArgument ? `--${base} ${value}` : `--${base}-file F`
        return [required ? text : `[${text}]`]
      })
      return `  ${title}: ${parts.join(' ')}`
    })
}

function faultText(source: AnySource, faults: readonly FieldFault[]): string {
  const options = fieldOptionsOf(source)
  const told = faults.map(({ field: path, expected }) => {
    const name = path.replace(/^secrets\.?/, '').split('.')[0]
    const given = options.find(({ field }) => field.name === name)
    return given === undefined
      ? `the credentials: expected ${expected}`
      : `${waysOfField(given).join(', ')}: expected ${expected}`
  })
  return [...told.map(printable), missingText(source)].join('\n')
}

const missingText = (source: AnySource) =>
  `give the credentials of ${source.title} as one of\n${waysOf(source).join('\n')}`
