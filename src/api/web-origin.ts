/** Keeps web pages from driving the server: a browser says where a request comes from, and ours come from nowhere else. */
import type { FastifyRequest } from 'fastify'
import ipaddr from 'ipaddr.js'
import { RequestError } from './errors.ts'

export interface WebOriginPolicy {
  /** Whether the server listens on a loopback address alone. */
  readonly isLoopback: boolean
  /** Names it may be asked under besides loopback ones. */
  readonly allowedHosts: readonly string[]
}

const refusal = (why: string) => new RequestError('forbidden', 'Forbidden', why)

/**
 * Refuses what a foreign web page sends: a host name that is not ours (a name of the page's own that was made to
 * resolve to this machine), and a request that the browser marks as coming from elsewhere. Clients that are no
 * browsers send none of these headers.
 *
 * @throws RequestError
 * @see https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site
 */
export function createWebOriginGuard({ isLoopback, allowedHosts }: WebOriginPolicy) {
  const ownNames = new Set(['localhost', ...allowedHosts])
  const isNamed = isLoopback || allowedHosts.length > 0
  /** Host headers found to be ours; few, as each is one of our names with a port. */
  const accepted = new Set<string>()

  const demandOwnHost = (host: string | undefined) => {
    if (host === undefined || host === '')
      throw new RequestError('invalid_request', 'A Host header is required')
    if (accepted.has(host)) return
    const name = hostName(host)
    if (name === undefined)
      throw new RequestError('invalid_request', 'The Host header is not a host name with an optional port')
    // No name of the page's own is spelt as an address, so that addresses need no list.
    const isOurs = isAddress(name) ? !isLoopback || isLoopbackAddress(name) : !isNamed || ownNames.has(name)
    if (!isOurs)
      throw refusal(
        'This server does not answer under that host name. The operator can allow it with CREDENCE_ALLOWED_HOSTS.',
      )
    if (accepted.size < 1_000) accepted.add(host)
  }

  return (request: FastifyRequest, isPublic: boolean): void => {
    const { host, origin, 'sec-fetch-site': site, 'sec-fetch-mode': mode } = request.headers
    demandOwnHost(host)
    if (origin !== undefined && originHost(origin) !== host)
      throw refusal('Web pages of other origins may not use this server.')
    if (site === undefined || site === 'same-origin' || site === 'none') return
    // Following a link to a public page (the API's description) is harmless.
    if (isPublic && mode === 'navigate' && (request.method === 'GET' || request.method === 'HEAD')) return
    throw refusal('Web pages of other origins may not use this server.')
  }
}

/** The name or address in a Host header, in lower case and without port and brackets; undefined when it is none. */
function hostName(host: string): string | undefined {
  const bracketed = /^\[([0-9a-fA-F:.]+)\](?::\d{1,5})?$/.exec(host)?.[1]
  if (bracketed !== undefined) return ipaddr.IPv6.isValid(bracketed) ? bracketed : undefined
  return /^([a-z0-9_-]+(?:\.[a-z0-9_-]+)*)\.?(?::\d{1,5})?$/i.exec(host)?.[1]?.toLowerCase()
}

const isAddress = (name: string) => ipaddr.IPv4.isValidFourPartDecimal(name) || ipaddr.IPv6.isValid(name)

const isLoopbackAddress = (address: string) => ipaddr.process(address).range() === 'loopback'

function originHost(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined
}
