import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { destinationOf } from './destination.ts'
import type { EgressRule } from './http.ts'

const rules: readonly EgressRule[] = [
  { host: 'oauth2.googleapis.com', chosenBy: 'provider' },
  { labelUnder: '.okta.com', chosenBy: 'provider' },
  { host: 'id.customer.example', chosenBy: 'customer' },
]

suite('a URL that no rule allows leads nowhere', () => {
  const hostile = {
    'another host': 'https://example.com/',
    'another scheme': 'http://acme.okta.com/',
    'a scheme without slashes': 'https:acme.okta.com/',
    'a third slash': 'https:///acme.okta.com/',
    'the suffix itself': 'https://okta.com/',
    'an empty label': 'https://.okta.com/',
    'two labels': 'https://a.acme.okta.com/',
    'the suffix without its dot': 'https://evilokta.com/',
    'the suffix in the middle': 'https://acme.okta.com.evil.tld/',
    'a trailing dot': 'https://acme.okta.com./',
    'a label that starts with a hyphen': 'https://-acme.okta.com/',
    'an underscore': 'https://ac_me.okta.com/',
    'a host below an exact one': 'https://evil.oauth2.googleapis.com/',
    'a user name': 'https://acme.okta.com@evil.tld/',
    'a user name before an allowed host': 'https://user@acme.okta.com/',
    'a password': 'https://user:pass@acme.okta.com/',
    'an empty user name': 'https://@acme.okta.com/',
    'a port': 'https://acme.okta.com:8443/',
    'the default port': 'https://acme.okta.com:443/',
    'an empty port': 'https://acme.okta.com:/',
    'a backslash as a slash': 'https:\\\\acme.okta.com/',
    'a backslash after the host': 'https://acme.okta.com\\@evil.tld/',
    'a backslash in the path': 'https://acme.okta.com/a\\..\\b',
    'an escaped dot': 'https://acme%2eokta.com/',
    'a full-width dot': 'https://acme．okta．com/',
    'an ideographic dot': 'https://acme。okta.com/',
    'a homograph': 'https://acme.оkta.com/',
    'full-width letters': 'https://ａcme.okta.com/',
    'a soft hyphen': 'https://ac\u00adme.okta.com/',
    'upper case': 'https://ACME.okta.com/',
    'a tab in the host': 'https://acme\t.okta.com/',
    'a line end in the path': 'https://acme.okta.com/a\r\nHost: evil.tld',
    'a NUL': 'https://acme.okta.com/\0',
    'a leading blank': ' https://acme.okta.com/',
    'a blank in the host': 'https://acme .okta.com/',
    'an IPv4 address': 'https://127.0.0.1/',
    'an IPv4 address as a number': 'https://2130706433/',
    'an IPv4 address in hexadecimal': 'https://0x7f000001/',
    'an IPv4 address in octal': 'https://0177.0.0.1/',
    'an IPv4 address in short': 'https://127.1/',
    'an IPv6 address': 'https://[::1]/',
    'a mapped address': 'https://[::ffff:127.0.0.1]/',
    'an address with a zone': 'https://[fe80::1%25eth0]/',
    'a name that is a number below the suffix only': 'https://1/',
    nothing: '',
  }
  for (const [what, url] of Object.entries(hostile))
    test(what, () => assert.equal(destinationOf(url, rules), undefined))

  test('an IP address, even where a rule names it', () => {
    for (const host of ['127.0.0.1', '0x7f.1', '127.0.0x1', '1.2.3.4', 'localhost'])
      assert.equal(destinationOf(`https://${host}/`, [{ host, chosenBy: 'customer' }]), undefined, host)
  })

  test('anything, under a suffix without its leading dot', () => {
    assert.equal(
      destinationOf('https://acme.okta.com/', [{ labelUnder: 'okta.com', chosenBy: 'provider' }]),
      undefined,
    )
  })
})

test('a URL that a rule allows keeps its path and query, and who chose its host', () => {
  assert.deepEqual(destinationOf('https://acme.okta.com/api/v1/users?limit=1&q=a%20b', rules), {
    host: 'acme.okta.com',
    path: '/api/v1/users?limit=1&q=a%20b',
    pathname: '/api/v1/users',
    chosenBy: 'provider',
  })
  assert.equal(destinationOf('https://id.customer.example', rules)?.chosenBy, 'customer')
  assert.equal(destinationOf('https://oauth2.googleapis.com?a=b', rules)?.path, '/?a=b')
  assert.equal(destinationOf('https://1.okta.com/', rules)?.host, '1.okta.com')
})

test('what leads somewhere, leads to a host of the rules for every URL parser', () => {
  const pieces = fc.constantFrom(
    'https://',
    'http://',
    'acme.okta.com',
    'oauth2.googleapis.com',
    'evil.tld',
    '.okta.com',
    '@',
    ':',
    '443',
    '/',
    '\\',
    '?',
    '#',
    '%2e',
    '.',
    '\t',
    '[::1]',
    '。',
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.array(pieces, { maxLength: 8 }).map((parts) => parts.join('')),
        fc.array(pieces, { maxLength: 6 }).map((parts) => `https://acme.okta.com${parts.join('')}`),
        fc.webUrl(),
      ),
      (url) => {
        const destination = destinationOf(url, rules)
        if (destination === undefined) return
        assert.match(
          destination.host,
          /^(?:[a-z0-9-]+\.okta\.com|oauth2\.googleapis\.com|id\.customer\.example)$/,
        )
        assert.equal(new URL(url).host, destination.host)
        assert.match(url, new RegExp(`^https://${destination.host.replaceAll('.', '\\.')}(?:[/?#]|$)`))
      },
    ),
    { numRuns: 2000 },
  )
})
