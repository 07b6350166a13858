/** Decides whether a URL may be asked at all, before anything is resolved or sent. */
import { isHostLabel, isHostName } from './host-name.ts'
import type { EgressRule } from './http.ts'

export interface Destination {
  readonly host: string
  /** Path and query, as they are sent. */
  readonly path: string
  /** Path alone, for messages. */
  readonly pathname: string
  readonly chosenBy: EgressRule['chosenBy']
}

/**
 * Scheme and authority as they must be written. Upper case, userinfo, ports, backslashes, escapes and full-width dots
 * are not corrected but refused: whoever wrote them meant another host than we would read.
 */
const plainAuthority = /^https:\/\/([a-z0-9.-]+)(?=[/?#]|$)/

/** Characters that URL parsers drop or replace, so that two parsers read two URLs. */
const ambiguous = /[\p{Cc}\p{Zl}\p{Zp}\\]/u

/** Where `url` leads, or undefined when no rule allows it. */
export function destinationOf(url: string, rules: readonly EgressRule[]): Destination | undefined {
  const host = plainAuthority.exec(url)?.[1]
  if (host === undefined || !isHostName(host) || ambiguous.test(url)) return undefined
  const parsed = URL.parse(url)
  if (
    parsed === null ||
    parsed.protocol !== 'https:' ||
    parsed.host !== host ||
    parsed.username !== '' ||
    parsed.password !== ''
  )
    return undefined
  const rule = rules.find((candidate) => allows(candidate, host))
  if (rule === undefined) return undefined
  return {
    host,
    path: `${parsed.pathname}${parsed.search}`,
    pathname: parsed.pathname,
    chosenBy: rule.chosenBy,
  }
}

function allows(rule: EgressRule, host: string): boolean {
  if ('host' in rule) return rule.host === host
  return (
    rule.labelUnder.startsWith('.') &&
    isHostName(rule.labelUnder.slice(1)) &&
    host.endsWith(rule.labelUnder) &&
    isHostLabel(host.slice(0, -rule.labelUnder.length))
  )
}
