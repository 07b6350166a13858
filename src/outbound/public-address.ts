/** Decides which IP addresses are on the public internet: the only ones that may be connected to. */
import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

/**
 * Global unicast as IANA allocates it. Everything outside is refused, so that a range invented tomorrow is refused too.
 *
 * @see https://www.iana.org/assignments/ipv6-unicast-address-assignments (read 2026-11-24)
 */
const globalUnicastV6 = ipaddr.IPv6.parseCIDR('2000::/3')

/**
 * Within global unicast, and more special than ipaddr.js's own table knows: relays into IPv4 and addresses that
 * cloud providers answer on for their own guests.
 */
const furtherRefused: readonly [ipaddr.IPv4 | ipaddr.IPv6, number][] = [
  // Azure's wire server and DNS: a public address that answers to Azure guests alone.
  // https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
  ipaddr.parseCIDR('168.63.129.16/32'),
  // Alibaba Cloud's metadata lies in CGNAT, Oracle's in 192.0.0.0/24; both fall to ipaddr.js.
  // 6bone, returned to IANA: RFC 3701.
  ipaddr.parseCIDR('3ffe::/16'),
]

/** Whether `address` (an IP literal) is public unicast. What cannot be parsed, or has a zone, is not. */
export function isPublicAddress(address: string): boolean {
  // A zone only makes sense on link-local addresses.
  if (address.includes('%') || !ipaddr.isValid(address)) return false
  const parsed = ipaddr.parse(address)
  // ipaddr.js also reads the octal, hexadecimal and short spellings of IPv4; a resolver never gives those.
  if (parsed.kind() === 'ipv4' && !ipaddr.IPv4.isValidFourPartDecimal(address)) return false
  if (parsed.range() !== 'unicast') return false
  if (parsed.kind() === 'ipv6' && !parsed.match(globalUnicastV6)) return false
  return !furtherRefused.some(([range, bits]) => range.kind() === parsed.kind() && parsed.match(range, bits))
}

/** Whether two IP literals are the same address, however they are spelt. */
export function isSameAddress(one: string, other: string): boolean {
  if (one === other) return isIP(one) !== 0
  if (!ipaddr.isValid(one) || !ipaddr.isValid(other)) return false
  return ipaddr.parse(one).toNormalizedString() === ipaddr.parse(other).toNormalizedString()
}

/** Whether `address` is 127.0.0.0/8 or ::1, spelt in the usual way. */
export function isLoopbackAddress(address: string): boolean {
  return (
    address === '::1' ||
    (ipaddr.IPv4.isValidFourPartDecimal(address) && ipaddr.parse(address).range() === 'loopback')
  )
}
