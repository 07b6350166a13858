/** Microsoft's own libraries against the sandbox: they keep Microsoft's names, and only the address is changed. */
import assert from 'node:assert/strict'
import { ConfidentialClientApplication, type Configuration } from '@azure/msal-node'
import { Client } from '@microsoft/microsoft-graph-client'
import { Agent, buildConnector, getGlobalDispatcher, setGlobalDispatcher } from 'undici'
import type { SecretCredentials } from '../../sandbox/entra/index.ts'
import type { RunningSandbox } from '../../sandbox/index.ts'

/**
 * Both libraries use the global fetch: it is led to the sandbox. The name stays in SNI, certificate and Host.
 *
 * @returns what puts the global dispatcher back
 */
export function redirectTo({ endpoints, authority = '' }: RunningSandbox): () => void {
  const connect = buildConnector({ ca: authority })
  const dispatcher = getGlobalDispatcher()
  setGlobalDispatcher(
    new Agent({
      connect(options, callback) {
        const origin = new URL(endpoints[options.hostname] ?? 'https://127.0.0.1:9')
        connect(
          {
            ...options,
            hostname: origin.hostname,
            host: origin.host,
            port: origin.port,
            servername: options.hostname,
          },
          callback,
        )
      },
    }),
  )
  return () => setGlobalDispatcher(dispatcher)
}

type Auth = Omit<Configuration['auth'], 'authority' | 'clientId'>

export function application(app: { tenant_id: string; client_id: string }, auth: Auth) {
  return new ConfidentialClientApplication({
    auth: {
      clientId: app.client_id,
      authority: `https://login.microsoftonline.com/${app.tenant_id}`,
      ...auth,
    },
  })
}

export async function tokenOf(app: SecretCredentials): Promise<string> {
  const client = application(app, { clientSecret: app.client_secret })
  const result = await client.acquireTokenByClientCredential({
    scopes: ['https://graph.microsoft.com/.default'],
  })
  assert.ok(result)
  return result.accessToken
}

export const graph = (app: SecretCredentials) =>
  Client.initWithMiddleware({ authProvider: { getAccessToken: () => tokenOf(app) } })
