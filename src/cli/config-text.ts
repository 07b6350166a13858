/** Configurations as text for people. */
import { z } from 'zod'
import { createSources, sourceByIntegrationType } from '../sources/registry.ts'
import { type Report, reportSchema } from '../validation/report.ts'
import { headLine, reportBody } from './report-text.ts'
import { printable, type Style } from './terminal.ts'

/** What we read of a configuration; a server may send more. */
const configSchema = z.object({
  id: z.string(),
  attributes: z.object({
    created_at: z.string(),
    domain: z.string(),
    enabled: z.boolean(),
    integration_type: z.string(),
    modified_at: z.string(),
    name: z.string(),
    settings: z.record(z.string(), z.unknown()).optional(),
    state: z.string(),
  }),
})
export type ConfigDocument = z.infer<typeof configSchema>

export const oneConfigSchema = z.object({ data: configSchema })
export const configListSchema = z.object({ data: z.array(configSchema) })

const withReportSchema = z.object({ meta: z.object({ report: reportSchema }) })

/** The report in an answer, whether it is the answer or beside it; undefined where there is none that we can read. */
export function reportIn(document: unknown): Report | undefined {
  const whole = reportSchema.safeParse(document)
  if (whole.success) return whole.data
  return withReportSchema.safeParse(document).data?.meta.report
}

export const titleOf = (integrationType: string): string =>
  sourceByIntegrationType(createSources(), integrationType)?.title ?? printable(integrationType)

/** The last report is shown as `validate` shows it, where there is one and it was asked for. */
export function configText({ id, attributes }: ConfigDocument, style: Style, report?: Report): string {
  const { integration_type, domain, name, enabled, settings = {}, created_at, modified_at } = attributes
  const title = titleOf(integration_type)
  const members: readonly (readonly [string, string])[] = [
    ['name', printable(name)],
    ['id', printable(id)],
    ['state', stateText(attributes, style)],
    ['sync', enabled ? 'on' : 'off'],
    ...(Object.keys(settings).length === 0
      ? []
      : [['settings', printable(JSON.stringify(settings))] as const]),
    ['created', printable(created_at)],
    ['modified', printable(modified_at)],
    ...(report === undefined ? [] : [['validated', printable(report.checked_at)] as const]),
  ]
  const lines = members.map(([member, value]) => `  ${member.padEnd(9)}  ${value}`)
  const head = `${[headLine(title, domain, style), ...lines].join('\n')}\n`
  return report === undefined ? head : `${head}\n${reportBody(report, title, style)}`
}

function stateText({ state }: ConfigDocument['attributes'], style: Style): string {
  switch (state) {
    case 'valid':
      return style.paint('green', '✓ valid')
    case 'invalid':
      return style.paint('red', '✗ invalid')
    default:
      return `? ${printable(state)}`
  }
}

/** A line for each, its columns below one another. */
export function configLines(configs: readonly ConfigDocument[], style: Style): string {
  const rows = configs.map(({ id, attributes }) => ({
    state: attributes.state,
    cells: [
      printable(id),
      attributes.enabled ? 'on' : 'off',
      attributes.integration_type,
      attributes.domain,
      attributes.name,
    ].map(printable),
  }))
  const widths = (rows[0]?.cells ?? []).map((_, column) =>
    Math.max(...rows.map(({ cells }) => cells[column]?.length ?? 0)),
  )
  return rows
    .map(({ state, cells }) => {
      const padded = cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')
      return `${stateMark(state, style)} ${padded.trimEnd()}\n`
    })
    .join('')
}

function stateMark(state: string, style: Style): string {
  if (state === 'valid') return style.paint('green', '✓')
  return state === 'invalid' ? style.paint('red', '✗') : style.paint('yellow', '?')
}
