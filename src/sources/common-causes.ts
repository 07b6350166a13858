/** Causes that every provider shares: nothing was learnt about the credentials, whoever the provider is. */
import type { SourceError } from '../outbound/source-error.ts'
import { type CauseCatalogue, type CauseTemplate, causeOf, type Diagnosis } from './cause.ts'

type CommonCause =
  | 'timed_out'
  | 'dns_failed'
  | 'unreachable'
  | 'circuit_open'
  | 'tls_failed'
  | 'forbidden_host'
  | 'redirected'
  | 'too_large'
  | 'unexpected_response'
  | 'rate_limited'
  | 'unavailable'
  | 'unrecognised_refusal'

const unknown = (template: Omit<CauseTemplate, 'determinate'>): CauseTemplate => ({
  determinate: false,
  ...template,
})

/** The shared causes in the words of one provider, each named `<prefix>_<what>`. `status` is the provider's status page. */
export function commonCauses<P extends string>(
  prefix: P,
  title: string,
  statusPage: string,
): Record<`${P}_${CommonCause}`, CauseTemplate> {
  const causes: Record<CommonCause, CauseTemplate> = {
    timed_out: unknown({
      title: `${title} did not answer in time`,
      explanation: `The request was sent, and no complete answer came before the time limit. This says nothing about the credentials.`,
      remedy: `Try again. If it persists, check ${title}'s status page and this server's connection to {host}.`,
      docs: statusPage,
    }),
    dns_failed: unknown({
      title: `The name {host} could not be resolved`,
      explanation: `Name resolution gave no usable address, so nothing was sent. This says nothing about the credentials.`,
      remedy: `Check the spelling of the domain, and this server's DNS. Then try again.`,
      docs: statusPage,
    }),
    unreachable: unknown({
      title: `{host} could not be reached`,
      explanation: `No connection could be made or it broke before an answer was complete. This says nothing about the credentials.`,
      remedy: `Check the spelling of the domain, and that this server may connect to {host} on port 443. Then try again.`,
      docs: statusPage,
    }),
    circuit_open: unknown({
      title: `{host} has not answered lately and is asked again in {wait}`,
      explanation: `Several requests to {host} failed in a row; of the last one, {reason}. Until then syncs and scheduled validations ask nothing of it, and then a single request tries. This says nothing about the credentials.`,
      remedy: `Nothing is to be done if it passes. A validation that somebody asks for is made all the same. If it persists, check ${title}'s status page and this server's connection to {host}.`,
      docs: statusPage,
    }),
    tls_failed: unknown({
      title: `No trusted connection to {host}`,
      explanation: `The TLS handshake failed or the certificate is not one for {host} from a trusted authority. A proxy that inspects traffic is the usual reason. Nothing was sent.`,
      remedy: `If a proxy inspects this server's traffic, exempt {host}, or trust the proxy's authority with NODE_EXTRA_CA_CERTS.`,
      docs: 'https://nodejs.org/api/cli.html#node_extra_ca_certsfile',
    }),
    forbidden_host: unknown({
      title: `{host} could not be reached`,
      explanation: `No connection could be made or it broke before an answer was complete. This says nothing about the credentials.`,
      remedy: `Check the spelling of the domain, and that this server may connect to {host} on port 443. Then try again.`,
      docs: statusPage,
    }),
    redirected: unknown({
      title: `{host} answered with a redirect`,
      explanation: `${title}'s API does not redirect; credentials are never sent along to another address. A proxy, a captive portal or a wrong host is the usual reason.`,
      remedy: `Check the domain, and that nothing between this server and {host} intercepts the traffic.`,
      docs: statusPage,
    }),
    too_large: unknown({
      title: `The answer was larger than any ${title} gives`,
      explanation: `The answer exceeded the size limit and was dropped. This says nothing about the credentials.`,
      remedy: `Check that nothing between this server and {host} intercepts the traffic. Then try again.`,
      docs: statusPage,
    }),
    unexpected_response: unknown({
      title: `The answer is not one ${title} gives`,
      explanation: `Something answered in place of ${title}'s API, or the answer was cut off: it is not the JSON document that this request returns. This says nothing about the credentials.`,
      remedy: `Check that nothing between this server and {host} intercepts the traffic (a captive portal or proxy). Then try again.`,
      docs: statusPage,
    }),
    rate_limited: unknown({
      title: `${title} is limiting requests`,
      explanation: `The organisation's request limit at ${title} is used up for the moment. This says nothing about the credentials.`,
      remedy: `Wait {wait}, then try again. If it recurs, find out which other integration uses the limit up.`,
      docs: statusPage,
    }),
    unavailable: unknown({
      title: `${title} is not available at the moment`,
      explanation: `${title} answered with an error of its own. This says nothing about the credentials.`,
      remedy: `Try again in a few minutes; ${title}'s status page tells about outages.`,
      docs: statusPage,
    }),
    unrecognised_refusal: unknown({
      title: `${title} refused in a way that is not documented`,
      explanation: `The refusal is none of the documented ones, so it is not taken as a verdict on the credentials. ${title}'s own words are in the report.`,
      remedy: `Look up ${title}'s code and words; if the cause becomes clear, please report it to this project.`,
      docs: statusPage,
    }),
  }
  return Object.fromEntries(
    Object.entries(causes).map(([what, cause]) => [`${prefix}_${what}`, cause]),
  ) as Record<`${P}_${CommonCause}`, CauseTemplate>
}

/**
 * The shared part of every source's diagnosis: what never became an answer, throttling (429) and outages (5xx).
 * Undefined when the answer is the source's own to judge.
 */
export function diagnoseCommon(
  prefix: string,
  catalogue: CauseCatalogue,
  error: SourceError,
  host: string,
): Diagnosis | undefined {
  const of = (what: CommonCause) =>
    causeOf(catalogue, `${prefix}_${what}`, {
      host,
      reason: String(error.hints.circuit ?? ''),
      wait: error.retryAfterSeconds === undefined ? 'a minute' : `${error.retryAfterSeconds} s`,
    })
  if (error.code !== 'refused') return error.code === 'not_configured' ? undefined : of(error.code)
  if (error.status === 429) return of('rate_limited')
  if (error.status !== undefined && error.status >= 500) return of('unavailable')
  return undefined
}
