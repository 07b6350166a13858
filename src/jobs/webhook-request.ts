/**
 * One attempt to tell a webhook something: signed, over https, to a public address, and of the answer nothing but its
 * status.
 *
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md (read 2026-11-24)
 */
import { Webhook as Signer } from 'standardwebhooks'
import { destinationOf } from '../outbound/destination.ts'
import type { EgressRule } from '../outbound/http.ts'
import type { Outbound } from '../outbound/outbound.ts'
import { retryAfterSeconds } from '../outbound/retry-after.ts'
import { SourceError } from '../outbound/source-error.ts'

/** Longest time for an attempt, in milliseconds. */
const attemptMs = 10_000
const maxUrlLength = 2_000

export type Attempt =
  | { readonly status: number; readonly retryAfterSeconds: number | undefined }
  /** A code: `timed_out`, `unreachable`, `redirected`. */
  | { readonly fault: string }

/** The host may be anyone's: that it is reached, refused or filtered looks the same and takes the same time. */
const ruleFor = (url: string): EgressRule => ({
  host: URL.canParse(url) ? new URL(url).hostname : '',
  chosenBy: 'customer',
})

/** Why `url` cannot be a webhook's, in words; undefined when it can. Which address its name leads to is seen at each attempt. */
export function urlFault(url: string): string | undefined {
  if (url.length > maxUrlLength) return `it is longer than ${maxUrlLength} characters`
  if (!url.isWellFormed() || url.includes('#')) return 'it holds characters that are not sent'
  if (destinationOf(url, [ruleFor(url)]) === undefined)
    return 'it is not of the form https://<host name in lower case>/<path>, without user, port or IP address'
  return undefined
}

/** @param id of the message, the same in every attempt */
export async function attempt(
  outbound: Outbound,
  {
    url,
    secret,
    id,
    body,
  }: { readonly url: string; readonly secret: string; readonly id: string; readonly body: string },
  { at, signal }: { readonly at: Date; readonly signal: AbortSignal },
): Promise<Attempt> {
  const messageId = `msg_${id}`
  const limit = AbortSignal.any([signal, AbortSignal.timeout(attemptMs)])
  const http = outbound.open([ruleFor(url)], limit, attemptMs)
  try {
    const { status, headers, receivedAt } = await http.request({
      operation: 'deliver webhook',
      method: 'POST',
      url,
      headers: {
        'content-type': 'application/json',
        'webhook-id': messageId,
        'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
        'webhook-signature': new Signer(secret).sign(messageId, at, body),
      },
      body,
    })
    return { status, retryAfterSeconds: retryAfterSeconds(headers, receivedAt) }
  } catch (error) {
    if (error instanceof SourceError) return { fault: error.code }
    throw error
  } finally {
    await http.close()
  }
}
