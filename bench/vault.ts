/** How fast envelopes open: what a scheduled re-validation of everything costs beside the network. */
import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto'
import { createVault, type Envelope, type Place, type Vault } from '../src/vault/vault.ts'
import { type Benchmark, measured } from './benchmark.ts'

const runs = 5
const opensPerRun = 20_000
/** Different ones, so that nothing is measured from the processor's cache alone. */
const envelopeCount = 1_000
/** Keys that a vault holds in the middle of a rotation; the envelopes are under the last. */
const keyCount = 3
const limitPerSecond = 20_000

interface Held {
  readonly place: Place
  readonly envelope: Envelope
}

function seal(vault: Vault, secrets: Readonly<Record<string, string>>): Held[] {
  return Array.from({ length: envelopeCount }, (_, at) => {
    const place = {
      organization: randomUUID(),
      owner: randomUUID(),
      type: 'GOOGLE_WORKSPACE',
      domain: `customer-${at}.example`,
    }
    return { place, envelope: vault.seal(place, secrets) }
  })
}

/** Per second of processor time of the whole process, garbage collection included: what one core does. */
function opensPerSecond(vault: Vault, held: readonly Held[]): number {
  const before = process.cpuUsage()
  for (let at = 0; at < opensPerRun; at += 1) {
    const one = held[at % held.length]
    if (one === undefined) throw new Error('nothing was sealed')
    vault.open(one.place, one.envelope)
  }
  const { user, system } = process.cpuUsage(before)
  return (opensPerRun * 1e6) / (user + system)
}

export const vaultOpening: Benchmark = {
  name: 'vault',
  title: 'envelopes opened a second on one core',
  async run() {
    const keys = Array.from({ length: keyCount }, (_, at) => ({ id: `key-${at}`, key: randomBytes(32) }))
    const [first, ...others] = keys
    const last = keys.at(-1)
    if (first === undefined || last === undefined) throw new Error('no key')
    const sealing = createVault([last])
    const vault = createVault([first, ...others])

    const { privateKey } = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
      publicKeyEncoding: { type: 'spki', format: 'pem' },
    })
    const kinds = {
      'API token': { api_token: randomBytes(30).toString('base64url') },
      'service account key': {
        service_account_json: JSON.stringify({
          type: 'service_account',
          project_id: 'project',
          private_key_id: randomBytes(20).toString('hex'),
          private_key: privateKey,
          client_email: 'sync@project.iam.gserviceaccount.com',
        }),
        admin_email: 'admin@customer.example',
      },
    }
    const measurements = Object.entries(kinds).map(([kind, secrets]) => {
      const held = seal(sealing, secrets)
      // Compiled before it counts.
      opensPerSecond(vault, held)
      return measured(
        `${kind}, opened a second`,
        '',
        Array.from({ length: runs }, () => opensPerSecond(vault, held)),
      )
    })
    return {
      measurements,
      bounds: measurements.map(({ what, median }) => ({
        what: `${what}, median`,
        value: median,
        relation: 'at least',
        limit: limitPerSecond,
        unit: '',
      })),
      notes: [
        `${envelopeCount} envelopes of each kind, each with a place and a data key of its own; ${keyCount} vault keys`,
        'per second of processor time, garbage collection included; opening is synchronous',
      ],
    }
  },
}
