/** Settings of a configuration: a free object without secrets, of which three members mean something to us. */
import { z } from 'zod'
import type { AnySource } from '../sources/registry.ts'
import type { EntityType } from '../sources/source.ts'
import { invalidRequest } from './refusal.ts'
import { syncSettingsSchema } from './sync-settings.ts'

export type Settings = Readonly<Record<string, unknown>>

/** As JSON text, in bytes. */
const maxBytes = 16 * 1024
/** Objects and lists within each other, the settings themselves counted. */
const maxDepth = 8

/** Lower case, so that two instances never differ by case alone; it stands in addresses and commands. */
const slug = /^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$/

export interface ReadSettings {
  /** All of them, as given. */
  readonly settings: Settings
  /** Tells configurations of one domain and type apart; empty for the usual single one. */
  readonly instance: string
  /** Capabilities that are required, whatever the source requires. */
  readonly require: readonly EntityType[]
}

/** The capabilities that `settings.require` may name for this source. */
const requirable = ({ checks }: AnySource): EntityType[] => [
  ...new Set(checks.flatMap(({ stage, capability }) => (stage === 'health' ? [] : (capability ?? [])))),
]

/** What stored settings require, as far as this release knows it. */
export function requiredBy(source: AnySource, { require }: Settings): EntityType[] {
  const known = requirable(source)
  return Array.isArray(require) ? known.filter((capability) => require.includes(capability)).sort() : []
}

/**
 * Checks settings against their source. Members that mean nothing to us are kept as they are.
 *
 * @throws ConfigRefusal naming every member that is wrong
 */
export function readSettings(source: AnySource, settings: Settings): ReadSettings {
  const where = 'data.attributes.settings'
  if (Buffer.byteLength(JSON.stringify(settings)) > maxBytes)
    throw invalidRequest(`${where}: expected at most ${maxBytes} bytes of JSON`)
  if (depthOf(settings) > maxDepth)
    throw invalidRequest(`${where}: expected at most ${maxDepth} levels of objects and lists`)
  const read = schemaFor(source).safeParse(settings)
  if (!read.success) {
    const [first, ...rest] = read.error.issues.map(
      ({ path, message }) => `${[where, ...path].join('.')}: ${message}`,
    )
    throw invalidRequest(first ?? where, ...new Set(rest))
  }
  return { settings, instance: read.data.instance ?? '', require: requiredBy(source, settings) }
}

function schemaFor(source: AnySource) {
  const known = requirable(source)
  const expectedList = `expected a list of ${known.join(', ')}`
  return z.object({
    instance: z
      .string('expected a text of lower-case letters, digits and hyphens')
      .regex(slug, 'expected 1 to 64 lower-case letters, digits and hyphens, with no hyphen at either end')
      .optional(),
    require: z
      .array(
        z
          .string(expectedList)
          .refine((name): name is EntityType => known.some((one) => one === name), expectedList),
        expectedList,
      )
      .optional(),
    sync: syncSettingsSchema.optional(),
  })
}

/** Never deeper than the parser of request bodies allows, so that recursion is safe. */
function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  return 1 + Math.max(0, ...Object.values(value).map(depthOf))
}
