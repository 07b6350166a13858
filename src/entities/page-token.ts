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

/** What a word of a place is. Whoever knows the question can make a token: nothing else may come of it. */
export type PlaceWord = 'time' | 'id' | 'count'

const isWord: Readonly<Record<PlaceWord, (word: string) => boolean>> = {
  // To the microsecond, and a day that there is.
  time: (word) =>
    /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?Z$/.test(word) &&
    new Date(Date.parse(word)).toJSON()?.slice(0, 19) === word.slice(0, 19),
  id: (word) => /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/.test(word),
  count: (word) => /^\d{1,15}$/.test(word),
}

/** @throws PageTokenFault */
export function readPageToken(
  question: readonly unknown[],
  place: readonly PlaceWord[],
  token: string,
): readonly string[] {
  const [, digest, text = ''] = form.exec(Buffer.from(token, 'base64url').toString('latin1')) ?? []
  const words = text.split(' ')
  const isSound = words.length === place.length && place.every((what, at) => isWord[what](words[at] ?? ''))
  if (!isSound || digest !== digestOf(question, text)) throw new PageTokenFault()
  return words
}

const digestOf = (question: readonly unknown[], words: string) =>
  hash('sha256', JSON.stringify([...question, words]), 'base64url').slice(0, 22)
