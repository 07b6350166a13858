/** What a customer gives to reach an Entra tenant, as it goes over the wire. */
import { z } from 'zod'
import { isHostName } from '../../outbound/host-name.ts'
import { causeOf } from '../cause.ts'
import type { CredentialField, CredentialKind, DomainReading, FieldFault } from '../source.ts'
import { causes } from './causes.ts'
import { type Cloud, cloudNames, clouds, isCloudName } from './clouds.ts'

interface AppRegistration {
  /** Directory (tenant) ID, or a domain name of the tenant; as given. */
  readonly tenantId: string
  /** Application (client) ID; as given. */
  readonly clientId: string
  readonly cloud: string
}

export type Credentials =
  | (AppRegistration & { readonly kind: 'client_secret'; readonly clientSecret: string })
  | (AppRegistration & {
      readonly kind: 'certificate'
      readonly certificate: string
      readonly privateKey: string
    })
  | (AppRegistration & { readonly kind: 'federated_token'; readonly federatedToken: string })
  /** The customer gave none: the operator's own app registration is meant. */
  | { readonly kind: 'operator' }

const guid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
export const isGuid = (text: string) => guid.test(text)

const text = z.string()
const optionalCloud = text.optional()

const field = (
  name: string,
  title: string,
  help: string,
  docs: string,
  rest: Partial<CredentialField> = {},
): CredentialField => ({ name, title, help, docs, secret: false, required: true, ...rest })

const registrationDocs = 'https://learn.microsoft.com/entra/identity-platform/quickstart-register-app'
const certificateDocs = 'https://learn.microsoft.com/entra/identity-platform/certificate-credentials'
const federationDocs = 'https://learn.microsoft.com/entra/workload-id/workload-identity-federation'
const credentialsDocs = 'https://learn.microsoft.com/entra/identity-platform/how-to-add-credentials'

const registrationFields = [
  field(
    'tenant_id',
    'Directory (tenant) ID',
    'App registrations > (your app) > Overview. A domain name of the tenant works as well.',
    registrationDocs,
    { example: '7c9e6679-7425-40de-944b-e07fc1f90ae7' },
  ),
  field(
    'client_id',
    'Application (client) ID',
    'App registrations > (your app) > Overview.',
    registrationDocs,
    { example: '3f0c9a5e-6f0b-4c0f-9d2f-1a3f2b7c9d10' },
  ),
] as const

const cloudField = field(
  'cloud',
  'Cloud',
  `The Microsoft cloud that the tenant is in: ${cloudNames.join(', ')}. The global one by default.`,
  'https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud',
  { example: 'global', required: false, choices: cloudNames },
)

const clientSecretFields = [
  ...registrationFields,
  field(
    'client_secret',
    'Client secret value',
    'The column "Value" under Certificates & secrets > Client secrets, not "Secret ID". It is shown only once.',
    credentialsDocs,
    { secret: true },
  ),
  cloudField,
] as const

export const credentialKinds: readonly CredentialKind[] = [
  {
    kind: 'client_secret',
    title: 'Client secret',
    fields: clientSecretFields,
    schema: z.object({ tenant_id: text, client_id: text, client_secret: text, cloud: optionalCloud }),
  },
  {
    kind: 'certificate',
    title: 'Certificate',
    fields: [
      ...registrationFields,
      field(
        'certificate',
        'Certificate (PEM)',
        'The certificate that is uploaded under Certificates & secrets > Certificates.',
        certificateDocs,
        { document: true },
      ),
      field(
        'private_key',
        'Private key (PEM)',
        'The RSA key of that certificate, not encrypted.',
        certificateDocs,
        {
          secret: true,
          document: true,
        },
      ),
      cloudField,
    ],
    schema: z.object({
      tenant_id: text,
      client_id: text,
      certificate: text,
      private_key: text,
      cloud: optionalCloud,
    }),
  },
  {
    kind: 'federated_token',
    title: 'Federated token',
    fields: [
      ...registrationFields,
      field(
        'federated_token',
        'Federated token (JWT)',
        'A token of your identity provider that matches a federated credential of the app. It is checked, not renewed.',
        federationDocs,
        { secret: true, document: true },
      ),
      cloudField,
    ],
    schema: z.object({ tenant_id: text, client_id: text, federated_token: text, cloud: optionalCloud }),
  },
  {
    kind: 'operator',
    title: "The operator's app registration",
    fields: [],
    schema: z.object({}),
  },
]

/** An entry of the operator's file. */
export const operatorEntry = z.object({
  tenant_id: text,
  client_id: text,
  client_secret: text,
  cloud: optionalCloud,
})

export const operatorFields: readonly CredentialField[] = clientSecretFields

/** @see OperatorCredentialKind.describe */
export function describeOperator(entry: unknown): Record<string, string> | undefined {
  const { tenant_id, client_id, client_secret, cloud } = operatorEntry.parse(entry)
  if ([tenant_id, client_id, client_secret].some((member) => member.trim() === '')) return undefined
  return { tenant_id, client_id, ...(cloud !== undefined && { cloud }) }
}

export function fromOperator(entry: unknown): Credentials {
  const { tenant_id, client_id, client_secret, cloud } = operatorEntry.parse(entry)
  return {
    kind: 'client_secret',
    tenantId: tenant_id,
    clientId: client_id,
    clientSecret: client_secret,
    cloud: cloud ?? 'global',
  }
}

const proofFields = ['client_secret', 'certificate', 'private_key', 'federated_token'] as const

export function readCredentials(
  secrets: Readonly<Record<string, unknown>> = {},
): { ok: true; credentials: Credentials } | { ok: false; faults: readonly FieldFault[] } {
  const faults: FieldFault[] = []
  const read = (name: string): string | undefined => {
    if (!Object.hasOwn(secrets, name)) return undefined
    const value = secrets[name]
    if (typeof value === 'string') return value
    faults.push({ field: `secrets.${name}`, expected: 'a string' })
    return undefined
  }
  const demand = (name: string, value: string | undefined): string => {
    if (value === undefined && !Object.hasOwn(secrets, name))
      faults.push({ field: `secrets.${name}`, expected: 'a string' })
    return value ?? ''
  }

  const named = ['tenant_id', 'client_id', ...proofFields].filter((name) => Object.hasOwn(secrets, name))
  if (named.length === 0) return { ok: true, credentials: { kind: 'operator' } }

  const given = {
    tenantId: demand('tenant_id', read('tenant_id')),
    clientId: demand('client_id', read('client_id')),
    cloud: read('cloud') ?? 'global',
  }
  const clientSecret = read('client_secret')
  const certificate = read('certificate')
  const privateKey = read('private_key')
  const federatedToken = read('federated_token')
  const proofs = proofFields.filter((name) => Object.hasOwn(secrets, name))
  const isPair = proofs.join() === 'certificate,private_key'
  if (proofs.length === 0) {
    faults.push({
      field: 'secrets',
      expected: 'one of client_secret, certificate with private_key, or federated_token',
    })
  } else if (proofs.length > 1 && !isPair) {
    faults.push({
      field: 'secrets',
      expected: 'only one of client_secret, certificate with private_key, or federated_token',
    })
  } else if (certificate !== undefined && privateKey === undefined) demand('private_key', privateKey)
  else if (privateKey !== undefined && certificate === undefined) demand('certificate', certificate)
  if (faults.length > 0) return { ok: false, faults }

  if (clientSecret !== undefined)
    return { ok: true, credentials: { ...given, kind: 'client_secret', clientSecret } }
  if (certificate !== undefined && privateKey !== undefined)
    return { ok: true, credentials: { ...given, kind: 'certificate', certificate, privateKey } }
  return {
    ok: true,
    credentials: { ...given, kind: 'federated_token', federatedToken: federatedToken ?? '' },
  }
}

/** As it is, and as it stands in a URL and in the form that is sent, where `~` becomes `%7E`, too. */
export const spellingsOf = (secret: string): readonly string[] => [
  ...new Set([
    secret,
    encodeURIComponent(secret.toWellFormed()),
    new URLSearchParams([['', secret]]).toString().slice(1),
  ]),
]

export function secretsIn(credentials: Credentials): readonly string[] {
  switch (credentials.kind) {
    case 'client_secret':
      return spellingsOf(credentials.clientSecret)
    case 'certificate':
      return [credentials.privateKey, withLineBreaks(credentials.privateKey)]
    case 'federated_token':
      return [credentials.federatedToken, credentials.federatedToken.split('.')[2] ?? '']
    case 'operator':
      return []
  }
}

export const principalOf = (credentials: Credentials): string | undefined =>
  credentials.kind === 'operator' ? undefined : credentials.clientId.toLowerCase()

/** The cloud that the credentials name, if there is such a cloud. */
export function cloudOf(credentials: Credentials): Cloud | undefined {
  if (credentials.kind === 'operator') return undefined
  return isCloudName(credentials.cloud) ? clouds[credentials.cloud] : undefined
}

/** Longest spelling of a domain worth reading: `https://`, 253 characters and a slash, with room for blanks. */
const longestDomain = 280

/**
 * A verified domain of the tenant: a host name, or a URL that has nothing but one. Whatever is not ASCII is refused
 * rather than converted, as two names that look alike must never be taken for one.
 */
export function readDomain(given: string): DomainReading {
  const isPlain = given.length <= longestDomain && /^[\x20-\x7e]*$/.test(given)
  const domain = isPlain ? (/^ *(?:https:\/\/)?([^/]*)\/? *$/i.exec(given)?.[1] ?? '').toLowerCase() : ''
  return isHostName(domain.trim())
    ? { ok: true, domain: domain.trim() }
    : { ok: false, diagnosis: causeOf(causes, 'entra_domain_malformed') }
}

/** Keys that came through a form or an environment variable carry `\n` as two characters. */
export const withLineBreaks = (pem: string) => pem.replaceAll('\\r', '').replaceAll('\\n', '\n')
