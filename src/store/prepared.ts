/** Statements that are planned once for each connection: planning them anew takes longer than what they do. */

/**
 * Marks a statement as one that is asked all the time. Its plan must be the right one for whatever values.
 *
 * @param name always the same for a text, and no other's: words of a-z and underscores
 */
export const prepared = (name: string, text: string) => `/* ${name} */ ${text}`

const mark = /^\/\* ([a-z_]+) \*\/ /

export const isPrepared = (text: string) => mark.test(text)

/** What the statements that are marked read. */
const tables = ['entity_revisions', 'entity_keys']
/**
 * Plans are made for tables as they are then. One that reads a small table from its beginning to its end would go on so
 * while a merge fills it with millions. In bytes.
 */
const leastTableBytes = 1024 * 1024
const askedEveryMs = 1_000

type Ask = (text: string) => Promise<{ readonly rows: readonly { readonly bytes: string }[] }>

/** Tells under which name a statement is prepared; undefined where it is not. */
export function createPreparation() {
  let areLarge = false
  let knownUntilMs = Number.NEGATIVE_INFINITY
  const look = async (ask: Ask) => {
    // Others go on meanwhile by what was known before.
    knownUntilMs = performance.now() + askedEveryMs
    const sizes = tables.map((table) => `pg_relation_size('${table}')`)
    const { rows } = await ask(`select least(${sizes.join(', ')})::text as bytes`)
    areLarge = Number(rows[0]?.bytes) >= leastTableBytes
  }
  return async (text: string, ask: Ask): Promise<string | undefined> => {
    const [, name] = mark.exec(text) ?? []
    if (name !== undefined && performance.now() >= knownUntilMs) await look(ask)
    return areLarge ? name : undefined
  }
}
