/** `credence sources`: what can be validated, with which credentials, and what it needs. */
import type { Command } from 'commander'
import { type AnySource, createSources } from '../sources/registry.ts'
import type { Need } from '../sources/source.ts'
import { jsonLine, write } from './terminal.ts'

export function addSourcesCommand(program: Command): void {
  program
    .command('sources')
    .description('list the sources: their credentials, their checks, and the permissions these need')
    .option('--json', 'print one JSON document')
    .action(async ({ json }: { json?: boolean }) => {
      const sources = createSources()
      await write(
        process.stdout,
        json ? jsonLine({ sources: sources.map(sourceDocument) }) : sources.map(sourceText).join('\n'),
      )
    })
}

function sourceText(source: AnySource): string {
  return [
    `${source.title}: credence validate ${source.name}`,
    '  Credentials, one of:',
    ...source.credentialKinds.map(
      ({ title, fields }) =>
        `    ${title}: ${fields.map(({ name, required }) => (required ? name : `[${name}]`)).join(', ') || 'nothing'}`,
    ),
    '  Permissions:',
    ...needsOf(source).map(({ name, required }) => `    ${name}${required ? '' : ' (optional)'}`),
    '',
  ].join('\n')
}

/** Each permission once; required if any required check needs it. */
function needsOf({ checks }: AnySource): { name: string; required: boolean }[] {
  const needs = new Map<string, boolean>()
  for (const { needs: need, required } of checks) {
    if (need !== undefined) needs.set(need.name, required || needs.get(need.name) === true)
  }
  return [...needs].map(([name, required]) => ({ name, required }))
}

function sourceDocument(source: AnySource) {
  return {
    name: source.name,
    integration_type: source.integrationType,
    title: source.title,
    domain: source.domainField,
    credentials: source.credentialKinds.map(({ kind, title, fields }) => ({ kind, title, fields })),
    checks: source.checks.map(
      ({ id, stage, title, proves, required, without, capability, after, needs }) => ({
        id,
        stage,
        title,
        proves,
        required,
        ...(without && { without }),
        ...(capability && { capability }),
        after,
        ...(needs && { needs: needDocument(needs) }),
      }),
    ),
  }
}

const needDocument = ({ kind, name, grantAt, docs }: Need) => ({ kind, name, grant_at: grantAt, docs })
