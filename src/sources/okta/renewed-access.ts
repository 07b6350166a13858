/** Access for work that outlives its tokens: they are renewed before they end, and once more when Okta refuses one. */
import type { Access, ApiRequest } from './access.ts'
import { type Heard, refusalOf } from './answers.ts'

/**
 * Access tokens of Okta's org authorization server live an hour, which no setting changes; after so long a new one is
 * asked for.
 *
 * @see https://developer.okta.com/docs/guides/implement-oauth-for-okta-serviceapp/main/
 */
const renewAfterMs = 50 * 60 * 1000

interface Opened {
  readonly access: Promise<Access>
  readonly at: number
}

/** @param open asks for new tokens */
export function renewedAccess(open: () => Promise<Access>, now: () => Date): Access {
  let current: Opened | undefined

  const fresh = (): Opened => {
    const opened = { access: open(), at: now().getTime() }
    current = opened
    // What failed is not kept: the next request asks anew.
    opened.access.catch(() => {
      if (current === opened) current = undefined
    })
    return opened
  }
  const valid = (): Opened => {
    const age = current === undefined ? Number.NaN : now().getTime() - current.at
    // A clock that was set back tells nothing of the age.
    return current !== undefined && age >= 0 && age < renewAfterMs ? current : fresh()
  }

  return {
    async get(request): Promise<Heard> {
      const opened = valid()
      const heard = await getProved(await opened.access, request)
      if (heard.answer.status !== 401) return heard
      // Requests that were under way together are refused together, and one new token is enough for all.
      const renewed = current === opened || current === undefined ? fresh() : current
      return getProved(await renewed.access, request)
    },
  }
}

/**
 * A DPoP proof is good for five minutes and one request. One that waited for its turn, or was sent again after a
 * refusal because of a limit, is too old or spent: the next try has a new one.
 *
 * @see https://developer.okta.com/docs/guides/dpop/oktaresourceserver/main/
 */
async function getProved(access: Access, request: ApiRequest): Promise<Heard> {
  const heard = await access.get(request)
  const isProofRefused =
    heard.answer.status === 400 && refusalOf(heard, '', '').providerCode === 'invalid_dpop_proof'
  return isProofRefused ? access.get(request) : heard
}
