/** The vendors' own SDKs, opened with what a validation request holds. */
import { ConfidentialClientApplication } from '@azure/msal-node'
import { admin } from '@googleapis/admin'
import { Client as GraphClient } from '@microsoft/microsoft-graph-client'
import { JWT } from 'google-auth-library'
import { scopes } from '../src/sources/google-workspace/access.ts'

export type Secrets = Readonly<Record<string, string>>

/** All scopes come with one token, as a validation asks first. */
export function googleDirectory({ service_account_json, admin_email = '' }: Secrets) {
  const { client_email = '', private_key = '' } = service_account_json as unknown as Secrets
  const auth = new JWT({
    email: client_email,
    key: private_key,
    subject: admin_email,
    scopes: Object.values(scopes),
  })
  return admin({ version: 'directory_v1', auth })
}

export function graph({ tenant_id = '', client_id = '', client_secret = '' }: Secrets): GraphClient {
  const app = new ConfidentialClientApplication({
    auth: {
      clientId: client_id,
      clientSecret: client_secret,
      authority: `https://login.microsoftonline.com/${tenant_id}`,
    },
  })
  return GraphClient.initWithMiddleware({
    authProvider: {
      async getAccessToken() {
        const token = await app.acquireTokenByClientCredential({
          scopes: ['https://graph.microsoft.com/.default'],
        })
        return token?.accessToken ?? ''
      },
    },
  })
}
