import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { isLoopbackAddress, isPublicAddress, isSameAddress } from './public-address.ts'

const refused: Readonly<Record<string, readonly string[]>> = {
  'this network': ['0.0.0.0', '0.1.2.3', '::'],
  loopback: ['127.0.0.1', '127.255.255.254', '::1'],
  private: ['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.0.1'],
  'carrier-grade NAT': ['100.64.0.1', '100.127.255.255', '100.100.100.200'],
  'link-local': ['169.254.0.1', '169.254.169.254', 'fe80::1', 'febf::1'],
  'unique local': ['fc00::1', 'fd00:ec2::254', 'fd20:ce::254'],
  'site-local': ['fec0::1', 'feff::1'],
  multicast: ['224.0.0.1', '239.255.255.255', 'ff02::1', 'ff0e::1'],
  broadcast: ['255.255.255.255'],
  reserved: ['192.0.0.1', '192.0.0.192', '192.88.99.1', '240.0.0.1', '254.1.1.1'],
  documentation: ['192.0.2.1', '198.51.100.1', '203.0.113.1', '2001:db8::1', '3fff::1'],
  benchmark: ['198.18.0.1', '198.19.255.255', '2001:2::1'],
  'IPv4-mapped': ['::ffff:127.0.0.1', '::ffff:8.8.8.8', '::ffff:0808:0808'],
  'IPv4-compatible': ['::127.0.0.1', '::8.8.8.8'],
  'IPv4-translated': ['::ffff:0:127.0.0.1'],
  NAT64: ['64:ff9b::7f00:1', '64:ff9b::808:808', '64:ff9b:1::1', '64:ff9b:1:ffff::a9fe:a9fe'],
  '6to4': ['2002:7f00:1::', '2002:808:808::1'],
  Teredo: ['2001::1', '2001:0:4136:e378:8000:63bf:3fff:fdd2'],
  ORCHID: ['2001:10::1', '2001:20::1'],
  discard: ['100::1'],
  'segment routing': ['5f00::1'],
  'not allocated': ['4000::1', '8000::1', 'e000::1', '1::1'],
  "a cloud provider's own": ['168.63.129.16'],
  'with a zone': ['fe80::1%eth0', '2600::1%1'],
  'no address': ['', 'localhost', 'dns.google', '1.2.3', '8.8.8.8.', ' 8.8.8.8', '8.8.8.8/32', '[2600::1]'],
  'unusual spellings': ['0x08080808', '134744072', '010.8.8.8', '8.8.2056', '8.8.8.08'],
}

suite('a public address', () => {
  for (const [kind, addresses] of Object.entries(refused))
    test(`is not ${kind}`, () => {
      for (const address of addresses) assert.equal(isPublicAddress(address), false, address)
    })

  test('is any other of IPv4 and of allocated IPv6', () => {
    for (const address of [
      '8.8.8.8',
      '1.1.1.1',
      '172.32.0.1',
      '100.128.0.1',
      '2600::1',
      '2a00:1450:4001::64',
    ])
      assert.equal(isPublicAddress(address), true, address)
  })

  test('is never hidden in an IPv6 address that carries an IPv4 one', () => {
    const carriers = [
      (v4: string) => `::ffff:${v4}`,
      (v4: string) => `::${v4}`,
      (v4: string) => `64:ff9b::${v4}`,
      (v4: string) => `64:ff9b:1::${v4}`,
      (v4: string) => `::ffff:0:${v4}`,
    ]
    fc.assert(
      fc.property(fc.ipV4(), fc.constantFrom(...carriers), (v4, carry) => {
        assert.equal(isPublicAddress(carry(v4)), false)
      }),
    )
  })

  test('no text makes it throw', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.ipV4Extended(), fc.ipV6()), (text) => void isPublicAddress(text)),
    )
  })
})

test('addresses are the same however they are spelt, and different ones are not', () => {
  assert.equal(isSameAddress('2001:DB8::1', '2001:db8:0:0::1'), true)
  assert.equal(isSameAddress('1.2.3.4', '1.2.3.4'), true)
  assert.equal(isSameAddress('1.2.3.4', '::ffff:1.2.3.4'), false)
  assert.equal(isSameAddress('1.2.3.4', '1.2.3.5'), false)
  assert.equal(isSameAddress('', ''), false)
})

test('loopback is 127.0.0.0/8 and ::1 in their usual spelling', () => {
  for (const address of ['127.0.0.1', '127.9.9.9', '::1'])
    assert.equal(isLoopbackAddress(address), true, address)
  for (const address of [
    '127.1',
    '2130706433',
    '0.0.0.0',
    '::',
    '::ffff:127.0.0.1',
    '128.0.0.1',
    'localhost',
  ])
    assert.equal(isLoopbackAddress(address), false, address)
})
