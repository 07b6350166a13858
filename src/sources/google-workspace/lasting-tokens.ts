/** Access tokens for work that outlasts one: renewed before they end, and once Google does not take one any more. */
import { SourceError } from '../../outbound/source-error.ts'
import { type ScopeName, widerScopes } from './access.ts'
import type { AccessToken } from './client.ts'
import { isScopeRefusal } from './diagnosis.ts'

export interface LastingTokens {
  take(scope: ScopeName): Promise<string>
  /** A token that is not `refused`: another request may have brought one already. */
  renew(scope: ScopeName, refused: string): Promise<string>
}

/** A token is renewed so long before its end, in seconds, so that none ends on its way. */
const renewedBeforeSeconds = 60
/** Whatever Google says, a token is used for no less and no more than this, in seconds. It says 3599. */
const shortestUseSeconds = 30
const longestUseSeconds = 3600

/** One token for each scope: a scope that is not delegated must not cost the others theirs. */
export function openLastingTokens(
  request: (scope: ScopeName) => Promise<AccessToken>,
  now: () => Date,
): LastingTokens {
  const held = new Map<ScopeName, { text: Promise<string>; usableUntil: number }>()

  const requestEither = async (scope: ScopeName): Promise<AccessToken> => {
    try {
      return await request(scope)
    } catch (error) {
      const wider = widerScopes[scope]
      if (wider === undefined || !(error instanceof SourceError) || !isScopeRefusal(error)) throw error
      return request(wider).catch((thrown: unknown) => {
        throw thrown instanceof SourceError && isScopeRefusal(thrown) ? error : thrown
      })
    }
  }

  const obtain = (scope: ScopeName): Promise<string> => {
    // Until the answer says otherwise, so that requests side by side share it.
    const entry = { text: Promise.resolve(''), usableUntil: Number.POSITIVE_INFINITY }
    entry.text = requestEither(scope).then(
      ({ text, expiresInSeconds = longestUseSeconds }) => {
        entry.usableUntil = now().getTime() + usableSeconds(expiresInSeconds) * 1000
        return text
      },
      (error: unknown) => {
        if (held.get(scope) === entry) held.delete(scope)
        throw error
      },
    )
    held.set(scope, entry)
    return entry.text
  }

  const take = (scope: ScopeName): Promise<string> => {
    const entry = held.get(scope)
    return entry !== undefined && now().getTime() < entry.usableUntil ? entry.text : obtain(scope)
  }

  return {
    take,
    async renew(scope, refused) {
      const entry = held.get(scope)
      if (entry === undefined || (await entry.text) !== refused) return take(scope)
      return held.get(scope) === entry ? obtain(scope) : take(scope)
    },
  }
}

const usableSeconds = (expiresInSeconds: number): number => {
  const wanted = expiresInSeconds - renewedBeforeSeconds
  return Number.isNaN(wanted)
    ? shortestUseSeconds
    : Math.min(longestUseSeconds, Math.max(shortestUseSeconds, wanted))
}
