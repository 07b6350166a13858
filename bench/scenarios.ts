/** The validations that are measured: each kind of credentials, and the chain of requests that it cannot do without. */
import { createEntraSandbox } from '../sandbox/entra/index.ts'
import { createGoogleSandbox } from '../sandbox/google/index.ts'
import { createOktaSandbox } from '../sandbox/okta/index.ts'
import type { ExampleAttributes, ProviderSandbox } from '../sandbox/provider.ts'

export interface Scenario {
  readonly kind: string
  /** Attributes of the validation request, as they go over the wire. */
  readonly attributes: ExampleAttributes
  /**
   * The longest chain of requests that each need something of the answer before: nothing shortens it. All other
   * requests can be under way beside it.
   */
  readonly chain: readonly string[]
  /** The vendor's SDK that makes the same requests; see sdk-process.ts. */
  readonly sdk?: 'google' | 'oktaToken' | 'oktaApp' | 'entra'
}

const size = { users: 1_000, groups: 50, seed: 'bench' } as const

export async function createScenarios(): Promise<{
  readonly providers: readonly ProviderSandbox[]
  readonly scenarios: readonly Scenario[]
}> {
  const google = await createGoogleSandbox(size)
  const okta = await createOktaSandbox(size)
  const entra = await createEntraSandbox(size)

  const ofOkta = (secrets: ExampleAttributes['secrets'] = {}): ExampleAttributes => ({
    domain: okta.host,
    integration_type: 'OKTA',
    secrets,
  })
  const serviceApp = ({ clientId, privateKey, keyId }: (typeof okta.serviceApps)['plain']) =>
    ofOkta({ client_id: clientId, private_key: privateKey, key_id: keyId })
  const ofEntra = (secrets: object): ExampleAttributes => ({
    domain: entra.domain,
    integration_type: 'ENTRA_ID',
    secrets: { ...secrets },
  })
  const list = ['list a group', 'list its members'] as const
  const tokenThenList = ['token', ...list] as const

  return {
    providers: [google, okta, entra],
    scenarios: [
      {
        kind: 'Google Workspace, service account',
        attributes: {
          domain: google.domains.primary,
          integration_type: 'GOOGLE_WORKSPACE',
          secrets: { service_account_json: google.keyFiles.good, admin_email: google.admins.super },
        },
        chain: tokenThenList,
        sdk: 'google',
      },
      {
        kind: 'Google Workspace, optional scopes missing',
        attributes: {
          domain: google.domains.primary,
          integration_type: 'GOOGLE_WORKSPACE',
          secrets: { service_account_json: google.keyFiles.requiredOnly, admin_email: google.admins.super },
        },
        // Google refuses all scopes together when one is not delegated, and does not say which.
        chain: ['token for all scopes', 'token for one', ...list],
      },
      {
        kind: 'Okta, API token',
        attributes: ofOkta({ api_token: okta.apiTokens.readOnly }),
        // The first request tells whether the token is alive; a dead one must not be tried a dozen times.
        chain: ['whose token', ...list],
        sdk: 'oktaToken',
      },
      {
        kind: 'Okta, service app',
        attributes: serviceApp(okta.serviceApps.plain),
        chain: tokenThenList,
        sdk: 'oktaApp',
      },
      {
        kind: 'Okta, service app with DPoP',
        attributes: serviceApp(okta.serviceApps.dpop),
        // Okta refuses a first try because it holds no proof, and a second because its proof holds no nonce.
        chain: ['token without proof', 'token with proof', 'token with nonce', ...list],
      },
      {
        kind: 'Entra ID, client secret',
        attributes: ofEntra(entra.apps.full),
        chain: tokenThenList,
        sdk: 'entra',
      },
      {
        kind: 'Entra ID, certificate',
        attributes: ofEntra(entra.apps.certificate),
        chain: tokenThenList,
      },
      {
        kind: 'Entra ID, federated token',
        attributes: ofEntra(await entra.federated()),
        chain: tokenThenList,
      },
    ],
  }
}
