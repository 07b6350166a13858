import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isOrganizationHost, organizationSuffixes, readHost } from './domain.ts'
import { createOkta } from './index.ts'

const customDomains = ['id.acme.com']
const hostOf = (domain: string) => {
  const reading = readHost(domain, customDomains)
  return reading.ok ? reading.host : undefined
}

test('accepts a host, an https URL of one, and upper case, and reads them all as the same host', () => {
  const spellings = [
    'acme.okta.com',
    'ACME.Okta.COM',
    'https://acme.okta.com',
    'https://acme.okta.com/',
    'HTTPS://Acme.okta.com/',
  ]
  for (const spelling of spellings) assert.equal(hostOf(spelling), 'acme.okta.com', spelling)
})

test('accepts one label under every suffix of Okta organisations', () => {
  for (const suffix of organizationSuffixes) assert.equal(hostOf(`trial-123${suffix}`), `trial-123${suffix}`)
})

test('accepts exactly the custom domains that the operator listed', () => {
  assert.deepEqual(readHost('https://ID.acme.com/', customDomains), {
    ok: true,
    host: 'id.acme.com',
    kind: 'custom',
  })
  assert.equal(hostOf('login.acme.com'), undefined)
  assert.equal(hostOf('x.id.acme.com'), undefined)
  assert.equal(readHost('id.acme.com', []).ok, false)
})

const hostile = [
  '',
  ' ',
  '.',
  'okta.com',
  '.okta.com',
  'acme.okta.com.',
  'acme..okta.com',
  'acme.okta.com.evil.tld',
  'evil-okta.com',
  'evilokta.com',
  'acme.okta.com-evil.tld',
  'acme.okta.comevil.tld',
  'a.b.okta.com',
  'acme.okta.com.com',
  'acme.okta.co',
  'acme.okta.mil.com',
  '-acme.okta.com',
  'acme-.okta.com',
  'ac_me.okta.com',
  `${'a'.repeat(64)}.okta.com`,
  `${'a'.repeat(10_000)}.okta.com`,
  'xn--acme-0ra.okta.com',
  'acmé.okta.com',
  'acme.оkta.com', // Cyrillic o
  'acme.okta.com\u2024evil.tld',
  'acme。okta。com', // ideographic full stops
  'acme．okta．com', // full-width dots
  'ａｃｍｅ.okta.com',
  'acme.okta%2ecom',
  'acme%2eokta.com',
  'acme.okta.com%00.evil.tld',
  'user@acme.okta.com',
  'user:password@acme.okta.com',
  'https://acme.okta.com@evil.tld',
  'https://evil.tld@acme.okta.com',
  'https://evil.tld#@acme.okta.com',
  'https://evil.tld?.okta.com',
  'https://evil.tld/.okta.com',
  'https://evil.tld\\.okta.com',
  'https:\\\\acme.okta.com',
  'https:/acme.okta.com',
  'https:acme.okta.com',
  'https:///acme.okta.com',
  '//acme.okta.com',
  'http://acme.okta.com',
  'ftp://acme.okta.com',
  'javascript://acme.okta.com',
  'file:///etc/passwd',
  'acme.okta.com:443',
  'acme.okta.com:80',
  'https://acme.okta.com:8443/',
  'https://acme.okta.com//',
  'https://acme.okta.com/..',
  'acme.okta.com/api/v1',
  'acme.okta.com?x',
  'acme.okta.com#x',
  ' acme.okta.com',
  'acme.okta.com ',
  'acme.okta.com\n',
  'acme.okta.com\r\nHost: evil.tld',
  '\tacme.okta.com',
  'ac\tme.okta.com',
  'acme.okta.com\u0000',
  'acme.okta.com\u200b',
  'acme.okta.com\u202e',
  '\ufeffacme.okta.com',
  '127.0.0.1',
  '127.1',
  '2130706433',
  '0x7f000001',
  '0x7f.1',
  '017700000001',
  '[::1]',
  '[::ffff:127.0.0.1]',
  '::1',
  '169.254.169.254',
  'fd00:ec2::254',
  '10.0.0.1.okta.com',
  'localhost',
  'metadata.google.internal',
  'acme-admin.okta.com',
  'login.okta.com',
  'www.okta.com',
  'developer.okta.com',
  'help.okta.com',
  'support.okta.com',
  'status.okta.com',
  'LOGIN.okta.com',
  'login.oktapreview.com',
]

test('refuses every hostile spelling, and may talk to no host for it', () => {
  const okta = createOkta({ customDomains })
  for (const domain of hostile) {
    assert.equal(hostOf(domain), undefined, JSON.stringify(domain.slice(0, 80)))
    const target = { domain, credentials: { kind: 'api_token', apiToken: '00x' } as const }
    assert.deepEqual(okta.egress(target), [], JSON.stringify(domain.slice(0, 80)))
    const reading = okta.readDomain(domain)
    assert.equal(!reading.ok && reading.diagnosis.cause.code, 'okta_domain_not_permitted')
    assert.equal(!reading.ok && reading.diagnosis.determinate, true)
  }
})

test('offers the host that was meant', () => {
  const meant = {
    'acme-admin.okta.com': 'acme.okta.com',
    'https://ACME-admin.oktapreview.com/': 'acme.oktapreview.com',
    'https://acme.okta.com/app/UserHome?session=1': 'acme.okta.com',
    'acme.okta.com:443/': 'acme.okta.com',
    'http://acme.okta.com': 'acme.okta.com',
    'acme.okta.com/': 'acme.okta.com',
  }
  for (const [domain, suggestion] of Object.entries(meant)) {
    const reading = readHost(domain, customDomains)
    assert.equal(!reading.ok && reading.suggestion, suggestion, domain)
  }
})

test('never offers a host that merely begins like one', () => {
  for (const domain of [
    'https://acme.okta.com@evil.tld/',
    'https://evil.tld/acme.okta.com',
    'acme.okta.com\\x',
    'login-admin.okta.com',
  ])
    assert.deepEqual(Object.keys(readHost(domain, [])).includes('suggestion'), false, domain)
})

test('whatever is given, the result is a refusal or one canonical host that is permitted', () => {
  const parts = fc.oneof(
    fc.constantFrom(
      'acme',
      'okta',
      'com',
      '.',
      '.okta.com',
      '-admin',
      'https://',
      '/',
      ':',
      '@',
      '\\',
      '%2e',
      '。',
      '．',
      'xn--',
      ' ',
      '\t',
      '\r\n',
      '\0',
      '#',
      '?',
      'A',
      '1',
    ),
    fc.string({ unit: 'binary', maxLength: 4 }),
  )
  const texts = fc.oneof(
    fc.array(parts, { maxLength: 12 }).map((some) => some.join('')),
    fc.webUrl(),
    fc.domain().map((domain) => `${domain}.okta.com`),
    fc.ipV4Extended(),
    fc.ipV6(),
  )
  fc.assert(
    fc.property(texts, (domain) => {
      const host = hostOf(domain)
      if (host === undefined) return
      const [label, ...rest] = host.split('.')
      assert.match(label ?? '', /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/)
      assert.ok(
        organizationSuffixes.includes(`.${rest.join('.')}` as '.okta.com') || customDomains.includes(host),
      )
      // A URL parser agrees that the request goes there and nowhere else.
      assert.equal(new URL(`https://${host}/`).host, host)
      // Reading it again changes nothing.
      assert.equal(hostOf(host), host)
      assert.ok(domain.toLowerCase().includes(host))
    }),
    { numRuns: 2_000 },
  )
})

test('a token may be sent only to hosts of organisations, never to a custom domain', () => {
  assert.equal(isOrganizationHost('acme.okta.com'), true)
  for (const host of ['id.acme.com', 'login.okta.com', 'acme-admin.okta.com', 'acme.okta.com.evil.tld'])
    assert.equal(isOrganizationHost(host), false, host)
})
