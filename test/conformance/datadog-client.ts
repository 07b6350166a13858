/** Datadog's official client, pointed at a server of ours. */
import assert from 'node:assert/strict'
import { client, v1, v2 } from '@datadog/datadog-api-client'

export type Keys =
  | { readonly apiKey: string; readonly applicationKey?: string }
  | { readonly accessToken: string }
  | Record<never, never>

export interface ClientOptions {
  readonly origin: string
  readonly keys?: Keys
  /** Sent as Content-Encoding; the client then compresses the body. It offers this for logs and metrics only, hence here. */
  readonly contentEncoding?: 'gzip' | 'deflate' | 'zstd1'
  readonly zstdCompressor?: (body: string) => Buffer
  /** Whether the client offers to take compressed answers. */
  readonly compress?: boolean
  readonly acceptEncoding?: string
  readonly retries?: number
  /** In place of the client's own, to see each attempt. */
  readonly fetch?: typeof globalThis.fetch
}

/** What came back for each call, as the client saw it after its retries. */
export interface SeenAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
}

/** The client's own HTTP library, which also keeps what it saw. */
class WatchedHttpLibrary extends client.IsomorphicFetchHttpLibrary {
  readonly seen: SeenAnswer[] = []
  readonly #requestHeaders: Readonly<Record<string, string>>

  constructor(requestHeaders: Readonly<Record<string, string>>) {
    super()
    this.#requestHeaders = requestHeaders
  }

  override async send(request: client.RequestContext): Promise<client.ResponseContext> {
    for (const [name, value] of Object.entries(this.#requestHeaders)) request.setHeaderParam(name, value)
    const answer = await super.send(request)
    this.seen.push({ status: answer.httpStatusCode, headers: answer.headers })
    return answer
  }
}

/** The client asks for them by name only. */
const previewOperations = [
  'activateIntegration',
  'createSecurityMonitoringIntegrationConfig',
  'deactivateIntegration',
  'deleteSecurityMonitoringIntegrationConfig',
  'getEntityContext',
  'getEntraIdAzureAppRegistrations',
  'getSecurityMonitoringIntegrationConfig',
  'getSingleEntityContext',
  'listSecurityMonitoringIntegrationConfigs',
  'updateSecurityMonitoringIntegrationConfig',
  'validate',
  'validateSecurityMonitoringIntegrationConfig',
  'validateSecurityMonitoringIntegrationCredentials',
]

export function datadogClient(options: ClientOptions) {
  const { origin, keys = {}, contentEncoding, acceptEncoding, compress, retries = 0 } = options
  const httpApi = new WatchedHttpLibrary({
    ...(contentEncoding && { 'Content-Encoding': contentEncoding }),
    ...(acceptEncoding && { 'Accept-Encoding': acceptEncoding }),
  })
  const configuration = client.createConfiguration({
    baseServer: new client.BaseServerConfiguration(origin, {}),
    httpApi,
    authMethods: {
      ...('apiKey' in keys && { apiKeyAuth: keys.apiKey }),
      ...('apiKey' in keys && keys.applicationKey !== undefined && { appKeyAuth: keys.applicationKey }),
      ...('accessToken' in keys && { AuthZ: { accessToken: keys.accessToken } }),
    },
    ...(compress !== undefined && { httpConfig: { compress } }),
    ...(options.zstdCompressor && { zstdCompressorCallback: options.zstdCompressor }),
    ...(options.fetch && { fetch: options.fetch }),
    ...(retries > 0 && { enableRetry: true, maxRetries: retries }),
  })
  for (const operation of previewOperations) configuration.unstableOperations[`v2.${operation}`] = true
  return {
    securityMonitoring: new v2.SecurityMonitoringApi(configuration),
    keyManagement: new v2.KeyManagementApi(configuration),
    authentication: new v1.AuthenticationApi(configuration),
    /** Every answer, oldest first. */
    seen: httpApi.seen,
  }
}

export const validate = (
  { securityMonitoring }: ReturnType<typeof datadogClient>,
  attributes: v2.SecurityMonitoringIntegrationCredentialsValidateAttributes,
): Promise<void> =>
  securityMonitoring.validateSecurityMonitoringIntegrationCredentials({
    body: { data: { type: 'integration_config', attributes } },
  })

export interface Refusal {
  readonly code: number
  /** Of the typed error; empty when the client did not read one. */
  readonly errors: readonly string[]
  readonly additionalProperties: Readonly<Record<string, unknown>> | undefined
  /** Where the client does not know the status, its own words with the body. */
  readonly text: string
}

/** The client's exception; fails when the call succeeds or fails in another way. */
export async function refusalOf(call: Promise<unknown>): Promise<Refusal> {
  const thrown: unknown = await call.then(
    () => assert.fail('the call succeeded'),
    (error: unknown) => error,
  )
  if (!(thrown instanceof client.ApiException)) throw thrown
  const { code, body } = thrown
  const isTyped = body instanceof v1.APIErrorResponse || body instanceof v2.APIErrorResponse
  return {
    code,
    errors: isTyped ? body.errors : [],
    additionalProperties: isTyped ? body.additionalProperties : undefined,
    text: typeof body === 'string' ? body : '',
  }
}
