/** What a host name is here: ASCII, lower case, at least two labels, and never an IP address. */

const label = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** Whether `text` is one label of a host name, in canonical form. */
export const isHostLabel = (text: string) => label.test(text)

/** Whether `text` is a host name in canonical form: no port, no trailing dot, no upper case, no IP address in any spelling. */
export function isHostName(text: string): boolean {
  if (text.length > 253) return false
  const labels = text.split('.')
  const last = labels.at(-1) ?? ''
  // A last label that is a number makes the WHATWG URL parser read the whole as an IPv4 address.
  return labels.length >= 2 && labels.every(isHostLabel) && !/^(?:\d+|0x[0-9a-f]*)$/.test(last)
}
