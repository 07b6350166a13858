/** What an address names and nobody has; another organisation's things are answered the same. */
import { RequestError } from './errors.ts'

/** In the family's form: `not_found(Integration config with ID … not found)`. */
export const notFound = (what: string, ...more: readonly string[]) =>
  new RequestError('not_found', `not_found(${what})`, ...more)

/** What the address named, as far as it can be repeated safely. */
export const echo = (text: string) => (/^[\w.-]{1,64}$/.test(text) ? ` ${text}` : '')

/** Lower case, as ids are stored; undefined for what cannot be the id of anything. */
export const uuidIn = (text: string): string | undefined =>
  /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text) ? text.toLowerCase() : undefined
