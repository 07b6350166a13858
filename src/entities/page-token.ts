/** Where a walk through pages goes on: everything the next page needs, and of no use for another question or organisation. */
import { hash } from 'node:crypto'

/** What the token was not made for. */
export class PageTokenFault extends Error {
  override readonly name = 'PageTokenFault'

  constructor() {
    super('expected a token of an earlier answer to the same query')
  }
}

const form = /^1 ([\w-]{22}) ((?:[\w:.+-]+ ?)+)$/

/**
 * The token is checked against the whole question, the organisation included. It is no secret and needs none: it says
 * where a page begins, and every page shows its reader's own organisation alone.
 *
 * @param question what has to be the same for every page
 * @param place words without blanks
 */
export const pageToken = (question: readonly unknown[], place: readonly (string | number)[]): string => {
  const words = place.join(' ')
  return Buffer.from(`1 ${digestOf(question, words)} ${words}`).toString('base64url')
}

/** @throws PageTokenFault */
export function readPageToken(question: readonly unknown[], token: string): readonly string[] {
  const [, digest, words = ''] = form.exec(Buffer.from(token, 'base64url').toString('latin1')) ?? []
  if (digest === undefined || digest !== digestOf(question, words)) throw new PageTokenFault()
  return words.split(' ')
}

const digestOf = (question: readonly unknown[], words: string) =>
  hash('sha256', JSON.stringify([...question, words]), 'base64url').slice(0, 22)
