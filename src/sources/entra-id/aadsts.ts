/**
 * What the numbers in the sign-in service's refusals (AADSTS…) mean for an app that asks for a token with its own
 * credentials. Microsoft reserves the right to change them, so they choose among remedies only within what `error`
 * and the status allow; see diagnosis.ts.
 *
 * @see https://learn.microsoft.com/entra/identity-platform/reference-error-codes
 */

/** Kinds of refusal; most are named after the cause that they lead to. */
export type Refusal =
  | 'tenant_not_found'
  | 'tenant_malformed'
  | 'other_cloud'
  | 'app_not_found'
  | 'app_disabled'
  | 'app_is_public'
  | 'secret_wrong'
  | 'secret_expired'
  | 'credential_rejected'
  | 'certificate_not_registered'
  | 'certificate_subject'
  | 'private_key_too_small'
  | 'assertion_time'
  | 'assertion_audience'
  | 'assertion_invalid'
  | 'federated_issuer'
  | 'federated_audience'
  | 'federated_subject'
  | 'federated_no_match'
  | 'federated_token_type'
  | 'service_principal_missing'
  | 'consent_missing'
  | 'graph_not_in_tenant'
  | 'graph_disabled'
  | 'conditional_access'
  | 'tenant_restrictions'
  | 'request_malformed'
  | 'unavailable'
  | 'rate_limited'

const numbers: Readonly<Record<Refusal, readonly number[]>> = {
  // 90002 InvalidTenantName, 50059 MissingTenantRealm, 50128 invalid domain name, 90019 MissingTenantRealm
  tenant_not_found: [90002, 50059, 50128, 90019],
  // 900023 "neither a valid DNS name, nor a valid external domain" (caddy-dns/azure#3), 50029 invalid characters
  tenant_malformed: [900023, 50029],
  // 90038 NationalCloudTenantRedirection; 900382 and 900432 confidential client in a cross-cloud request
  other_cloud: [90038, 900382, 900432],
  app_not_found: [700016, 700011],
  app_disabled: [70001, 7000112, 1000031],
  app_is_public: [700025],
  secret_wrong: [7000215, 70002],
  secret_expired: [7000222],
  credential_rejected: [50012, 50003, 50006],
  certificate_not_registered: [700027],
  certificate_subject: [700030],
  private_key_too_small: [50032],
  // 700024 "Client assertion is not within its valid time range" (microsoft-authentication-library-for-dotnet#4951)
  assertion_time: [700024, 500133],
  // Its page calls 700023 InvalidResourcelessScope; a certificate's assertion sent to a cloud that is not the tenant's
  // is answered with this number and "Client assertion audience claim does not match Realm issuer".
  assertion_audience: [700023],
  assertion_invalid: [50013, 50027, 50048, 900384],
  // 700211 to 700213 and 7002137/8: azure-workload-identity#1200, Azure/login#482 and #517, microsoft/Agents#202
  federated_issuer: [700211],
  federated_audience: [700212],
  federated_subject: [700213, 7002137, 7002138],
  federated_no_match: [70021],
  // 700222 "AAD-issued tokens may not be used for federated identity flows" (MicrosoftDocs/azure-docs#90276)
  federated_token_type: [700222, 700229],
  // "The client application … is missing service principal in the tenant" (azure-sdk-for-net#46762)
  service_principal_missing: [7000229],
  // 50105 also comes to an app that "is not assigned to a role" (active-directory-dotnet-daemon#10)
  consent_missing: [50105, 65001, 65005, 650052, 650054, 650056, 650057, 90008, 90094, 90095, 90099],
  // 500011 InvalidResourceServicePrincipalNotFound, 50001 InvalidResource
  graph_not_in_tenant: [500011, 50001],
  // "The service principal for resource … is disabled" (microsoft-authentication-library-for-dotnet#3150)
  graph_disabled: [500014],
  // 530084: token protection (Azure/azure-dev#7704)
  conditional_access: [
    530084, 53000, 53001, 53002, 53003, 53011, 530032, 530034, 530035, 50005, 50131, 500212, 500213,
  ],
  // Headers that a proxy on our side adds: they concern our network, not the customer's credentials.
  tenant_restrictions: [50002, 500021, 500022],
  request_malformed: [
    // Fields missing or unreadable
    28002, 28003, 50050, 70003, 70005, 70011, 700022, 900144, 90004, 90013, 90014, 90015, 90023, 9002313,
    900561, 90100, 901002, 90107, 90117, 90121, 7000218, 1002012,
    // An authority that is no tenant
    50194, 90124, 90130, 9001023, 9002332,
    // Answers to users signing in
    50034, 50053, 50055, 50056, 50057, 50058, 50064, 50072, 50074, 50076, 50079, 50126, 7000114,
  ],
  unavailable: [
    40008, 40010, 50000, 50033, 50087, 50166, 501621, 70012, 90006, 90012, 90024, 90033, 90036, 90090, 90091,
    230109,
  ],
  // 50196 LoopDetected: too many of the same request in too short a time; 90055 TenantThrottlingError
  rate_limited: [50196, 90055],
}

const byNumber = new Map<number, Refusal>(
  Object.entries(numbers).flatMap(([refusal, list]) =>
    list.map((number): [number, Refusal] => [number, refusal as Refusal]),
  ),
)

export const refusalOf = (number: number): Refusal | undefined => byNumber.get(number)

/** Every number that is known here, for tests and documentation. */
export const knownNumbers: readonly number[] = [...byNumber.keys()]

/** The numbers in a refusal's body, in the order in which they were given; at most four. */
export function numbersIn(errorCodes: unknown, description: unknown): readonly number[] {
  const listed = Array.isArray(errorCodes) ? errorCodes.slice(0, 4).map(Number).filter(isNumber) : []
  if (listed.length > 0) return listed
  const inText = typeof description === 'string' ? /^\s*AADSTS(\d{4,9})\b/.exec(description)?.[1] : undefined
  return inText === undefined ? [] : [Number(inText)]
}

const isNumber = (value: number) => Number.isSafeInteger(value) && value > 0
