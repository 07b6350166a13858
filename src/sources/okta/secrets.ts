/** What `secrets` may hold for Okta: an API token, or a service app with its private key. */
import { z } from 'zod'
import type { CredentialKind, FieldFault } from '../source.ts'
import { secretPartsOf } from './private-key.ts'

export type OktaCredentials =
  | { readonly kind: 'api_token'; readonly apiToken: string }
  | {
      readonly kind: 'service_app'
      readonly clientId: string
      readonly privateKey: string | Readonly<Record<string, unknown>>
      readonly keyId: string | undefined
    }

const tokenDocs = 'https://developer.okta.com/docs/guides/create-an-api-token/main/'
const serviceAppDocs = 'https://developer.okta.com/docs/guides/implement-oauth-for-okta-serviceapp/main/'

export const credentialKinds: readonly CredentialKind[] = [
  {
    kind: 'api_token',
    title: 'API token',
    fields: [
      {
        name: 'api_token',
        title: 'API token',
        help: 'Made in the Admin Console under Security > API > Tokens by a service account that is a Read-only Administrator. Okta shows it once.',
        secret: true,
        required: true,
        docs: tokenDocs,
      },
    ],
    schema: z.object({ api_token: z.string() }),
  },
  {
    kind: 'service_app',
    title: 'Service app (OAuth 2.0, recommended by Okta)',
    fields: [
      {
        name: 'client_id',
        title: 'Client ID',
        help: 'On the General tab of the API Services app.',
        example: '0oa1b2c3d4e5f6g7h8i9',
        secret: false,
        required: true,
        docs: serviceAppDocs,
      },
      {
        name: 'private_key',
        title: 'Private key',
        help: 'The private half of a public key of the app, as PEM text or as a JSON Web Key (text or object).',
        secret: true,
        document: true,
        required: true,
        docs: serviceAppDocs,
      },
      {
        name: 'key_id',
        title: 'Key ID',
        help: 'The `kid` of the public key on the General tab of the app; needed where the app has several keys and the private key does not name its own.',
        secret: false,
        required: false,
        docs: serviceAppDocs,
      },
    ],
    schema: z.object({
      client_id: z.string(),
      private_key: z.union([z.string(), z.record(z.string(), z.unknown())]),
      key_id: z.string().optional(),
    }),
  },
]

type Reading = { ok: true; credentials: OktaCredentials } | { ok: false; faults: readonly FieldFault[] }

export function readCredentials(secrets: Readonly<Record<string, unknown>> = {}): Reading {
  const { api_token: apiToken, client_id: clientId, private_key: privateKey, key_id: keyId } = secrets
  const faults = [
    ...(apiToken === undefined || typeof apiToken === 'string' ? [] : [fault('api_token', 'a string')]),
    ...(clientId === undefined || typeof clientId === 'string' ? [] : [fault('client_id', 'a string')]),
    ...(privateKey === undefined || typeof privateKey === 'string' || isRecord(privateKey)
      ? []
      : [fault('private_key', 'PEM text or a JSON Web Key')]),
    ...(keyId === undefined || typeof keyId === 'string' ? [] : [fault('key_id', 'a string')]),
  ]
  if (faults.length > 0) return { ok: false, faults }

  const isServiceApp = clientId !== undefined || privateKey !== undefined
  if (apiToken !== undefined && isServiceApp)
    return {
      ok: false,
      faults: [{ field: 'secrets', expected: 'either api_token, or client_id with private_key' }],
    }
  if (typeof apiToken === 'string') return { ok: true, credentials: { kind: 'api_token', apiToken } }
  if (!isServiceApp)
    return { ok: false, faults: [{ field: 'secrets', expected: 'api_token, or client_id with private_key' }] }
  if (typeof clientId !== 'string')
    return { ok: false, faults: [fault('client_id', 'the client ID of the app that the key belongs to')] }
  if (typeof privateKey !== 'string' && !isRecord(privateKey))
    return {
      ok: false,
      faults: [
        fault('private_key', 'a private key as PEM text or JSON Web Key (Okta takes no client secret here)'),
      ],
    }
  return {
    ok: true,
    credentials: {
      kind: 'service_app',
      clientId,
      privateKey,
      keyId: typeof keyId === 'string' && keyId !== '' ? keyId : undefined,
    },
  }
}

export function secretsIn(credentials: OktaCredentials): readonly string[] {
  if (credentials.kind === 'service_app') return secretPartsOf(credentials.privateKey)
  // The token as it should have been given must stay hidden, too, where something was pasted around it.
  const bare = credentials.apiToken.trim().replace(/^(?:SSWS|Bearer)\s+/i, '')
  return [...new Set([credentials.apiToken, bare])]
}

/** What is wrong with an API token on sight; undefined when it may be one. */
export function tokenProblem(token: string): string | undefined {
  if (token === '') return 'it is empty'
  if (/^\s*SSWS\s/i.test(token)) return 'it begins with "SSWS ", which belongs to the request header'
  if (/^\s*Bearer\s/i.test(token)) return 'it begins with "Bearer ", which belongs to the request header'
  if (/^(['"]).*\1$/s.test(token)) return 'it stands in quotation marks'
  if (/\s/.test(token)) return 'it holds white space or a line break'
  if (!/^[\x21-\x7e]+$/.test(token)) return 'it holds characters that no token has'
  return token.length > longestToken ? 'it is longer than any token' : undefined
}

/** Okta's tokens have 42 characters; the bound only keeps the header sendable. */
const longestToken = 1024

/**
 * What a refused token looks like, where it is not the form of an API token.
 *
 * @see https://developer.okta.com/docs/api/openapi/okta-management/management/tags/apitoken the form of ids
 */
export function tokenLooksLike(token: string): string | undefined {
  if (/^00T[A-Za-z0-9]{17}$/.test(token)) return "a token's ID, not its value"
  if (/^eyJ[\w-]+\.[\w-]+\./.test(token)) return 'an OAuth access token, not an API token'
  if (/^0oa[A-Za-z0-9]{17}$/.test(token)) return "an app's client ID, not an API token"
  return undefined
}

/** What is wrong with a client ID on sight; undefined when it may be one. */
export function identifierProblem(text: string): string | undefined {
  if (text === '') return 'it is empty'
  if (/\s/.test(text)) return 'it holds white space or a line break'
  if (!/^[\x21-\x7e]+$/.test(text)) return 'it holds characters that no ID has'
  return text.length > 255 ? 'it is longer than any ID' : undefined
}

const fault = (name: string, expected: string): FieldFault => ({ field: `secrets.${name}`, expected })

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
