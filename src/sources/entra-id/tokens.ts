/** Keeps the token of one validation or sync: a new one before it expires, and one more when Graph calls it invalid. */
import type { Token } from './access.ts'

/** How long before its end a token is replaced, in ms: longer than any request takes, clocks that differ included. */
const renewEarlyMs = 5 * 60_000
/** A replacement that is refused as well within this time, in ms, is not replaced again: tokens are not what is wrong. */
const replacementTrialMs = 60_000

export interface Tokens {
  current(): Promise<Token>
  /** Another one than `refused`; undefined when `refused` is itself such a replacement and no other will help. */
  instead(refused: Token): Promise<Token | undefined>
}

export function createTokens(request: () => Promise<Token>, now: () => Date): Tokens {
  let kept: { readonly token: Promise<Token>; readonly replacesAt?: number } | undefined

  const keep = (replacesAt?: number): Promise<Token> => {
    const token = request()
    const asked = { token, ...(replacesAt !== undefined && { replacesAt }) }
    kept = asked
    // Whoever asks again after a failure asks anew.
    token.catch(() => {
      if (kept === asked) kept = undefined
    })
    return token
  }

  return {
    async current() {
      if (kept === undefined) return keep()
      const { token: asked } = kept
      const token = await asked
      if (now().getTime() < renewAt(token)) return token
      // Somebody else may have noticed before.
      return kept === undefined || kept.token === asked ? keep() : kept.token
    },

    async instead(refused) {
      const since = kept
      if (since === undefined) return keep(now().getTime())
      if ((await since.token) !== refused) return since.token
      const isOnTrial =
        since.replacesAt !== undefined && now().getTime() - since.replacesAt < replacementTrialMs
      if (isOnTrial) return undefined
      return kept === since || kept === undefined ? keep(now().getTime()) : kept.token
    },
  }
}

/** Tokens that live shortly are used for the larger part of their life. */
function renewAt({ issuedAt, lifetimeMs }: Token): number {
  return issuedAt.getTime() + lifetimeMs - Math.min(renewEarlyMs, lifetimeMs / 4)
}
