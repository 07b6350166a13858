/** Writes the pages that are made from the sources: docs/checks.md and docs/diagnoses.md. With --check, compares only. */
import { readFileSync, writeFileSync } from 'node:fs'
import type { CauseTemplate } from '../src/sources/cause.ts'
import { type AnySource, createSources } from '../src/sources/registry.ts'
import type { Check, CredentialField, CredentialKind, Need } from '../src/sources/source.ts'

const notice = '<!-- Made from the code by "npm run generate"; edit the sources, not this page. -->'

/** A text that has no markup of its own, with whatever Markdown would act on escaped. */
const escaped = (text: string) =>
  text
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/[\\`*[\]<|~]|&(?=#?\w+;)|(?<![a-z\d])_|_(?![a-z\d])|^[>#+=-]|(?<=^\d+)[.)]/gi, '\\$&')

/** Inside a code span a backslash stands for itself, and only a longer fence hides a backtick. */
const code = (text: string) => {
  const plain = text.replace(/\s+/g, ' ').replaceAll('|', '\\|')
  const longest = Math.max(0, ...(plain.match(/`+/g) ?? []).map((run) => run.length))
  const fence = '`'.repeat(longest + 1)
  const pad = plain.startsWith('`') || plain.endsWith('`') ? ' ' : ''
  return `${fence}${pad}${plain}${pad}${fence}`
}

const link = (text: string, url: string) =>
  `[${escaped(text)}](<${url.replace(/[<>\s]/g, encodeURIComponent)}>)`

const table = (head: readonly string[], rows: readonly (readonly string[])[]) =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')

const page = (...parts: readonly string[]) => `${parts.join('\n\n')}\n`

function checksPage(sources: readonly AnySource[]): string {
  return page(
    '# Checks',
    notice,
    'What a validation asks of each source, which permission each check needs, and where an administrator grants it. ' +
      'The verdict rests on the required checks; an optional one that does not pass is a warning. ' +
      'What each failure means is told in [diagnoses.md](diagnoses.md).',
    ...sources.flatMap(checksOf),
  )
}

function checksOf(source: AnySource): string[] {
  return [
    `## ${escaped(source.title)}`,
    `On the wire ${code(source.integrationType)}, on the command line ${code(`credence validate ${source.name}`)}.`,
    `${code('domain')}: ${escaped(source.domainField.help)}${exampleOf(source.domainField)}`,
    '### Credentials',
    ...source.credentialKinds.map(kindText),
    '### Checks, in order',
    table(['check', 'stage', 'what it proves', 'needs', 'required'], source.checks.map(checkRow)),
    '### Permissions, and where to grant them',
    table(['permission', 'kind', 'where', 'for'], needRows(source.checks)),
  ]
}

function kindText({ title, fields }: CredentialKind): string {
  const heading = `**${escaped(title)}**`
  if (fields.length === 0) return `${heading}: nothing; the operator's own credentials are used.`
  const rows = fields.map((field) => [
    code(field.name),
    field.secret ? 'yes' : 'no',
    field.required ? 'yes' : 'no',
    `${escaped(field.help)}${exampleOf(field)} ${link('Documentation', field.docs)}`,
  ])
  return `${heading}\n\n${table(['field', 'secret', 'required', 'what it is'], rows)}`
}

const exampleOf = ({ example }: Pick<CredentialField, 'example'>) =>
  example === undefined ? '' : ` Example: ${code(example)}.`

const checkRow = ({ id, stage, title, proves, needs, required, without }: Check<unknown>) => [
  `${code(id)} ${escaped(title)}`,
  stage,
  escaped(proves),
  needs === undefined ? '' : code(needs.name),
  required ? 'required' : without === undefined ? 'optional' : `optional; without it: ${escaped(without)}`,
]

/** Each permission once, in the order of the checks. */
function needRows(checks: readonly Check<unknown>[]): string[][] {
  const needs = new Map<string, { need: Need; by: string[] }>()
  for (const { id, needs: need } of checks) {
    if (need === undefined) continue
    const key = JSON.stringify([need.kind, need.name, need.grantAt])
    const known = needs.get(key)
    if (known === undefined) needs.set(key, { need, by: [id] })
    else known.by.push(id)
  }
  return [...needs.values()].map(({ need, by }) => [
    link(need.name, need.docs),
    need.kind,
    escaped(need.grantAt),
    by.map(code).join(', '),
  ])
}

function diagnosesPage(sources: readonly AnySource[]): string {
  return page(
    '# Diagnoses',
    notice,
    'Every cause that a report can name. Its code is stable once published. A cause is a **verdict** where the ' +
      'provider documents its answer as a plain "no", or the input itself is wrong: the check has failed. Otherwise ' +
      'nothing was learnt about the credentials and the check is unknown. Names in braces are filled in by the report.',
    ...sources.flatMap((source) => [
      `## ${escaped(source.title)}`,
      ...Object.entries(source.causes)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, cause]) => causeText(name, cause)),
    ]),
  )
}

const causeText = (name: string, { title, explanation, remedy, determinate, docs }: CauseTemplate) =>
  [
    `### ${code(name)}`,
    `**${escaped(title)}** (${determinate ? 'verdict: failed' : 'no verdict: unknown'})`,
    escaped(explanation),
    `Remedy: ${escaped(remedy)} ${link('Documentation', docs)}`,
  ].join('\n\n')

function readPage(url: URL): string | undefined {
  try {
    return readFileSync(url, 'utf8')
  } catch {
    return undefined
  }
}

const sources = createSources()
const pages = { 'checks.md': checksPage(sources), 'diagnoses.md': diagnosesPage(sources) }
const isCheck = process.argv.includes('--check')

for (const [name, text] of Object.entries(pages)) {
  const file = new URL(name, import.meta.url)
  if (readPage(file) === text) continue
  if (isCheck) {
    process.stderr.write(
      `docs/${name} does not say what the code says: run "npm run generate" and commit it\n`,
    )
    process.exitCode = 1
  } else {
    writeFileSync(file, text)
    process.stdout.write(`wrote docs/${name}\n`)
  }
}
