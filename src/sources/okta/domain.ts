/** Reads `domain`: the one parser that decides which host an Okta credential may meet. */
import { isHostLabel, isHostName } from '../../outbound/host-name.ts'

/**
 * The suffixes of organisations, each with exactly one label before it.
 *
 * @see https://developer.okta.com/docs/guides/find-your-domain/main/
 * @see https://github.com/okta/okta-commons-java the config check, for the government suffixes
 */
export const organizationSuffixes = [
  '.okta.com',
  '.oktapreview.com',
  '.okta-emea.com',
  '.okta-gov.com',
  '.okta.mil',
] as const

/** Labels under these suffixes that are Okta's own; login.okta.com answers 200 to any path. */
const infrastructureLabels = new Set(['login', 'www', 'developer', 'help', 'support', 'status'])

/** The Admin Console's host, `acme-admin.okta.com`, is none that the API is called on. */
const adminEnding = '-admin'

/** Longer text is no host, not even with a scheme before and a slash behind it. */
const longestInput = 'https://'.length + 253 + '/'.length

interface PermittedHost {
  readonly ok: true
  readonly host: string
  /** `organization`: one of Okta's own hosts. `custom`: a domain that the operator listed. */
  readonly kind: 'organization' | 'custom'
}

export interface RefusedHost {
  readonly ok: false
  /** Why, as the end of a sentence that says "because". */
  readonly problem: string
  /** The host that was probably meant. */
  readonly suggestion?: string
}

export type HostReading = PermittedHost | RefusedHost

/** Reads a host or an `https` URL of one; whatever is more than that is refused, never cut off. */
export function readHost(domain: string, customDomains: readonly string[]): HostReading {
  if (domain.length > longestInput) return refused('it is longer than any host name')
  // No URL parser: it would repair tabs, backslashes, full-width dots and percent signs, none of which is in a host.
  const [, scheme, host, slash] =
    /^(?:([A-Za-z][A-Za-z0-9+.-]*):\/\/)?([A-Za-z0-9.-]+)(\/?)$/.exec(domain) ?? []
  if (host === undefined) return refused('it is not a plain host name', hostBefore(domain))
  if (scheme !== undefined && scheme.toLowerCase() !== 'https')
    return refused('its scheme is not https', permitted(host.toLowerCase()))
  if (scheme === undefined && slash === '/')
    return refused('it is not a plain host name', permitted(host.toLowerCase()))
  return readHostName(host.toLowerCase(), customDomains)
}

function readHostName(host: string, customDomains: readonly string[]): HostReading {
  if (!isHostName(host)) return refused('it is not a host name')
  if (customDomains.includes(host)) return { ok: true, host, kind: 'custom' }
  const parts = organizationParts(host)
  if (parts === undefined) return refused('it is not under a suffix of Okta organisations')
  if (parts.label.endsWith(adminEnding))
    return refused(
      'it is the address of the Admin Console',
      permitted(`${parts.label.slice(0, -adminEnding.length)}${parts.suffix}`),
    )
  if (infrastructureLabels.has(parts.label))
    return refused("it is Okta's own host, not one of an organisation")
  if (parts.label.startsWith('xn--')) return refused('it is not a plain ASCII name')
  return { ok: true, host, kind: 'organization' }
}

/** Whether `host` is one that an organisation's token may be sent to. */
export function isOrganizationHost(host: string): boolean {
  return permitted(host) !== undefined
}

/** `acme.okta.com` → `acme` and `.okta.com`: compared label by label, so that no other suffix merely ends alike. */
function organizationParts(host: string): { label: string; suffix: string } | undefined {
  const dot = host.indexOf('.')
  const label = host.slice(0, Math.max(dot, 0))
  const suffix = host.slice(Math.max(dot, 0))
  return isHostLabel(label) && organizationSuffixes.some((known) => known === suffix)
    ? { label, suffix }
    : undefined
}

const permitted = (host: string) => {
  const reading = readHostName(host, [])
  return reading.ok ? reading.host : undefined
}

/** The host that a URL with a port, path or query begins with, where it is a permitted one and nothing else stands before it. */
function hostBefore(text: string): string | undefined {
  const host = /^(?:https?:\/\/)?([a-z0-9.-]+)(?::\d{1,5})?[/?#][\x21-\x5b\x5d-\x7e]*$/i.exec(text)?.[1]
  return host === undefined ? undefined : permitted(host.toLowerCase())
}

const refused = (problem: string, suggestion?: string): RefusedHost => ({
  ok: false,
  problem,
  ...(suggestion !== undefined && { suggestion }),
})
