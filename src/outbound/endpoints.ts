/** Reads CREDENCE_ENDPOINTS: the loopback origins that stand in for provider hosts. */
import { isHostName } from './host-name.ts'
import { isLoopbackAddress } from './public-address.ts'

/** The file is not what it has to be. Says what and where; the operator reads it at start. */
export class EndpointsError extends Error {
  override readonly name = 'EndpointsError'
}

/**
 * Provider host → loopback origin, from a JSON object `{"<provider host>": "<loopback origin>"}`.
 *
 * @throws EndpointsError on the first entry that is not exactly that; a value that is not loopback above all
 */
export function readEndpoints(text: string): Map<string, URL> {
  const entries = readObject(text)
  const endpoints = new Map<string, URL>()
  for (const [host, origin] of Object.entries(entries)) {
    if (!isHostName(host))
      throw new EndpointsError(
        `${quote(host)} is not a host name: write it in lower case, without scheme, port or path, as "acme.okta.com"`,
      )
    endpoints.set(host, readOrigin(host, origin))
  }
  return endpoints
}

function readObject(text: string): object {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new EndpointsError('the endpoints are not JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new EndpointsError(
      'the endpoints are not a JSON object of the form {"<provider host>": "<origin>"}',
    )
  return value
}

/** `http://127.0.0.1:7001`, `https://[::1]:7002`, `http://localhost:7003`, each with an optional final slash. */
const writtenOrigin = /^https?:\/\/([\w.-]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?\/?$/

function readOrigin(host: string, value: unknown): URL {
  const written = typeof value === 'string' ? writtenOrigin.exec(value)?.[1] : undefined
  if (written === undefined || !URL.canParse(String(value)))
    throw new EndpointsError(
      `the value of ${quote(host)} is not an origin: write scheme, loopback address and port alone, as "http://127.0.0.1:7001"`,
    )
  const origin = new URL(String(value))
  const literal = written.replace(/^\[|\]$/g, '').toLowerCase()
  const address = origin.hostname.replace(/^\[|\]$/g, '')
  if (origin.hostname !== 'localhost' && !(isLoopbackAddress(address) && isLoopbackAddress(literal)))
    throw new EndpointsError(
      `the value of ${quote(host)} is not a loopback address: only 127.0.0.0/8, [::1] and localhost are accepted`,
    )
  if (origin.port === '0') throw new EndpointsError(`the value of ${quote(host)} has port 0`)
  return origin
}

const quote = (text: string) => JSON.stringify(text.slice(0, 80).toWellFormed())

/** The literal addresses of an origin of `readEndpoints`; `localhost` is never looked up, as what it resolves to is not ours to say. */
export function loopbackAddresses(origin: URL): readonly string[] {
  return origin.hostname === 'localhost' ? ['127.0.0.1', '::1'] : [origin.hostname.replace(/^\[|\]$/g, '')]
}
