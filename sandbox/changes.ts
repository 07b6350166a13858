/** Changes of a directory as the control interface takes and tells them. */
import { z } from 'zod'
import { largestCount } from './directory.ts'
import type { Happening, LivingDirectory } from './living-directory.ts'

const index = z.int().min(0).max(largestCount)
const text = z.string().min(1).max(200)

const edit = z.strictObject({
  givenName: text.exactOptional(),
  familyName: text.exactOptional(),
  userName: z
    .string()
    .regex(
      /^[a-z0-9][a-z0-9._-]{0,63}$/,
      'expected lower-case letters, digits, dots, underscores and hyphens',
    )
    .exactOptional(),
  title: text.exactOptional(),
  department: text.exactOptional(),
  city: text.exactOptional(),
  countryCode: z.string().length(2).exactOptional(),
  managerIndex: index.exactOptional(),
  status: z.enum(['active', 'suspended', 'deactivated', 'invited']).exactOptional(),
  hasMfa: z.boolean().exactOptional(),
})

const change = z.discriminatedUnion('what', [
  z.strictObject({ what: z.literal('hire'), edit: edit.exactOptional() }),
  z.strictObject({ what: z.literal('edit'), person: index, edit }),
  z.strictObject({ what: z.enum(['leave', 'return']), person: index }),
  z.strictObject({ what: z.literal('sign_in'), person: index, ip: z.union([z.ipv4(), z.ipv6()]) }),
  z.strictObject({ what: z.literal('found'), name: text }),
  z.strictObject({ what: z.literal('rename'), group: index, name: text }),
  z.strictObject({ what: z.literal('dissolve'), group: index }),
  z.strictObject({ what: z.enum(['join', 'quit']), group: index, person: index }),
])

export const changesBody = z.strictObject({
  /** Every provider's directory when absent. */
  provider: z.enum(['google', 'okta', 'entra']).exactOptional(),
  /** When it happened; now when absent. */
  at: z.iso
    .datetime({ offset: true })
    .transform((at) => new Date(at))
    .exactOptional(),
  changes: z.array(change).min(1).max(1_000),
})

/** For people and programs: whom it was about by name, besides the index. */
export function describeHappening(
  directory: LivingDirectory,
  { sequence, at, change: { what }, person, group }: Happening,
) {
  return {
    sequence,
    at: at.toISOString(),
    what,
    ...(person !== undefined && { person, email: directory.person(person).email }),
    ...(group !== undefined && { group, name: directory.group(group).name }),
  }
}
