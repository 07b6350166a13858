/** Entities as people read them. */
import { isDeepStrictEqual } from 'node:util'
import { z } from 'zod'
import { printable, type Style } from './terminal.ts'

const attributesSchema = z.record(z.string(), z.unknown())

const revisionSchema = z.object({
  attributes: attributesSchema,
  first_seen_at: z.string(),
  last_seen_at: z.string(),
})

export const entitiesSchema = z.object({
  data: z.array(
    z.object({
      id: z.string(),
      type: z.string(),
      attributes: z.object({ revisions: z.array(revisionSchema).min(1) }),
    }),
  ),
  meta: z.object({ total_count: z.number(), page: z.object({ next_token: z.string() }) }),
})
export type EntityDocument = z.infer<typeof entitiesSchema>['data'][number]

export const differencesSchema = z.object({
  data: z.array(
    z.object({
      id: z.string(),
      type: z.string(),
      attributes: z.object({
        change: z.enum(['added', 'removed', 'changed']),
        label: z.string(),
        before: attributesSchema.optional(),
        after: attributesSchema.optional(),
        fields: z
          .array(
            z.object({ field: z.string(), before: z.unknown().optional(), after: z.unknown().optional() }),
          )
          .optional(),
      }),
    }),
  ),
  meta: z.object({ page: z.object({ next_token: z.string() }) }),
})
export type DifferenceDocument = z.infer<typeof differencesSchema>['data'][number]

type Attributes = z.infer<typeof attributesSchema>

/** Said in the first line already, or of no interest to people. */
const unsaid = new Set(['uid', 'name', 'full_name', 'domain', 'source', 'config_id'])

/** A value in one line. */
function valueText(value: unknown): string {
  if (value === undefined) return '(none)'
  if (Array.isArray(value)) return value.map(valueText).join(', ')
  if (typeof value === 'object' && value !== null) {
    const { name, uid, ...more } = value as Record<string, unknown>
    const shown = name ?? uid
    return shown !== undefined && !('email_addr' in more)
      ? valueText(shown)
      : Object.values(value).map(valueText).join(', ')
  }
  return printable(String(value))
}

const timeText = (time: string) => printable(time.replace('T', ' ').replace(/(?:\.\d+)?Z$/, ' UTC'))

function headline(
  { full_name, name, hostname, uid, source, domain }: Attributes,
  id: string,
  style: Style,
): string {
  const said = [full_name, name, hostname].filter((one) => typeof one === 'string')
  const shown = said.length > 0 ? [...new Set(said)].map(valueText).join(' · ') : valueText(uid)
  return `${style.paint('bold', shown)}  (${valueText(source)} ${valueText(domain)}, id ${valueText(uid)}, entity ${printable(id)})`
}

/** What is known last, and how it was before. */
export function entityLines({ id, attributes: { revisions } }: EntityDocument, style: Style): string {
  const [last] = revisions.slice(-1)
  if (last === undefined) return ''
  const members = Object.entries(last.attributes).filter(([name]) => !unsaid.has(name))
  const width = Math.max(0, ...members.map(([name]) => name.length))
  const earlier = revisions.slice(0, -1).map((revision, at) => {
    const changes = changesBetween(revision.attributes, revisions[at + 1]?.attributes ?? {})
    return `  ${timeText(revision.first_seen_at)} to ${timeText(revision.last_seen_at)}: ${changes.join('; ') || 'the same'}`
  })
  return `${[
    headline(last.attributes, id, style),
    ...members.map(([name, value]) => `  ${name.padEnd(width)}  ${valueText(value)}`),
    `  ${'known'.padEnd(width)}  since ${timeText(last.first_seen_at)}, seen ${timeText(last.last_seen_at)}`,
    ...(earlier.length > 0 ? ['  before:', ...earlier.reverse().map((line) => `  ${line}`)] : []),
  ].join('\n')}\n`
}

/** What an earlier revision said otherwise. */
const changesBetween = (earlier: Attributes, later: Attributes) =>
  [...new Set([...Object.keys(earlier), ...Object.keys(later)])]
    .filter((name) => !isDeepStrictEqual(earlier[name], later[name]))
    .map((name) => `${printable(name)} ${valueText(earlier[name])}`)

export function differenceLines({ id, attributes }: DifferenceDocument, style: Style): string {
  const { change, label, before, after, fields = [] } = attributes
  const shown = after ?? before
  const who =
    shown === undefined
      ? `${style.paint('bold', printable(label))}  (entity ${printable(id)})`
      : headline(shown, id, style)
  return `${[
    `${change.padEnd(7)}  ${who}`,
    ...fields.map(
      (one) => `           ${printable(one.field)}: ${valueText(one.before)} → ${valueText(one.after)}`,
    ),
  ].join('\n')}\n`
}
