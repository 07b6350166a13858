/** A strict stand-in for Google Workspace: the token endpoint for service accounts, and the Directory API. */
import { freshKeys, type RsaKeys } from '../keys.ts'
import { createLivingDirectory, type LivingDirectory } from '../living-directory.ts'
import type { ExampleAttributes, ProviderSandbox, SandboxAnswer, SandboxRequest } from '../provider.ts'
import { createAccounts, type ScenarioName, type ServiceAccountKeyFile } from './accounts.ts'
import { createDirectoryApi } from './directory-api.ts'
import { apiRefusal, GoogleRefusal, serviceDisabled, tokenRefusal, unknownPath } from './errors.ts'
import {
  aliasDomain,
  customerId,
  fewestUsers,
  organisationOf,
  parts,
  primaryDomain,
  secondaryDomain,
  unverifiedDomain,
  type Variety,
} from './organisation.ts'
import { Quota } from './quota.ts'
import { createReportsApi, reportsPath } from './reports-api.ts'
import { createTokenEndpoint } from './token-endpoint.ts'

export type { ServiceAccountKeyFile } from './accounts.ts'

export interface GoogleSandboxOptions extends Variety {
  /** People in the directory; at least five, since the first five have parts to play. */
  readonly users: number
  readonly groups: number
  readonly devices?: number
  readonly seed: string
  /** Where the service accounts' keys come from; new ones by default. */
  readonly keys?: RsaKeys
  /** Between 0 and 1: the largest groups but group 0 have the people's number to this power. */
  readonly largestGroup?: number
  /** Queries a minute for each administrator and API; without a limit by default. Google grants 2,400. */
  readonly requestsPerMinute?: number
}

export interface GoogleSandbox extends ProviderSandbox {
  readonly customerId: string
  /** Domains of the organisation, and one that it does not have. */
  readonly domains: {
    readonly primary: string
    readonly secondary: string
    readonly alias: string
    readonly unverified: string
    readonly foreign: string
  }
  /** Addresses to act for. */
  readonly admins: {
    readonly super: string
    readonly reader: string
    readonly helpDesk: string
    readonly suspended: string
    readonly notAdmin: string
    readonly unknown: string
  }
  /** Key files: one that works, and one for each thing that may be wrong with a service account. */
  readonly keyFiles: Readonly<Record<ScenarioName, ServiceAccountKeyFile>>
  readonly directory: LivingDirectory
}

const tokenHost = 'oauth2.googleapis.com'
const apiHost = 'admin.googleapis.com'
const foreignDomain = 'initech.com'

/** Paths tell the two hosts apart, since some clients reach the sandbox by its address. */
const isForTokens = ({ url }: SandboxRequest) => url.pathname === '/token'

export async function createGoogleSandbox(options: GoogleSandboxOptions): Promise<GoogleSandbox> {
  const directory = createLivingDirectory({
    domain: primaryDomain,
    users: Math.max(options.users, fewestUsers),
    groups: options.groups,
    ...(options.devices !== undefined && { devices: options.devices }),
    ...(options.largestGroup !== undefined && { largestGroup: options.largestGroup }),
    seed: options.seed,
  })
  const organisation = organisationOf(directory, options)
  const accounts = await createAccounts(options.keys ?? freshKeys())
  const tokens = createTokenEndpoint(accounts, organisation)
  const api = createDirectoryApi(organisation, options)
  const reports = createReportsApi(organisation)
  const quota = new Quota(options.requestsPerMinute ?? Number.POSITIVE_INFINITY)
  const { keyFiles } = accounts
  const emailOfPart = (part: keyof typeof parts) => organisation.emailOf(directory.person(parts[part]))
  const admins = {
    super: emailOfPart('super'),
    reader: emailOfPart('reader'),
    helpDesk: emailOfPart('helpDesk'),
    suspended: emailOfPart('suspended'),
    notAdmin: emailOfPart('notAdmin'),
    unknown: `nobody@${primaryDomain}`,
  }

  const answer = async (request: SandboxRequest): Promise<SandboxAnswer> => {
    const { pathname } = request.url
    if (isForTokens(request) && request.method === 'POST') return tokens.handle(request)
    const isForReports = pathname.startsWith(reportsPath)
    if (!isForReports && !pathname.startsWith('/admin/directory/v1/')) return unknownPath(pathname)
    const grant = tokens.authenticate(request)
    const account = accounts.find(grant.account)
    if (account !== undefined && !account.isAdminSdkEnabled) throw serviceDisabled(account.projectNumber)
    quota.count(isForReports ? 'reports' : 'directory', grant, request.now)
    return (isForReports ? reports : api).handle(request, grant, account?.privileges ?? [])
  }

  return {
    name: 'google',
    hosts: [tokenHost, apiHost],
    customerId,
    domains: {
      primary: primaryDomain,
      secondary: secondaryDomain,
      alias: aliasDomain,
      unverified: unverifiedDomain,
      foreign: foreignDomain,
    },
    admins,
    keyFiles,
    directory,

    async handle(request) {
      try {
        return await answer(request)
      } catch (error) {
        if (error instanceof GoogleRefusal) return error.answer
        throw error
      }
    },

    /** Google documents no Retry-After. @see https://developers.google.com/workspace/admin/directory/v1/limits */
    throttled: (request) =>
      isForTokens(request)
        ? tokenRefusal(429, 'rate_limit_exceeded', 'Rate Limit Exceeded').answer
        : apiRefusal(429, {
            reason: 'rateLimitExceeded',
            domain: 'usageLimits',
            message: 'Quota exceeded for quota metric and limit of service admin.googleapis.com.',
            status: 'RESOURCE_EXHAUSTED',
          }).answer,

    unavailable: (request) =>
      isForTokens(request)
        ? tokenRefusal(503, 'internal_failure', 'Backend Error').answer
        : apiRefusal(503, {
            reason: 'backendError',
            message: 'The service is currently unavailable.',
            status: 'UNAVAILABLE',
          }).answer,

    examples() {
      const attributes = (
        keyFile: ServiceAccountKeyFile,
        admin_email: string,
        domain: string = primaryDomain,
      ): ExampleAttributes => ({
        domain,
        integration_type: 'GOOGLE_WORKSPACE',
        secrets: { service_account_json: keyFile, admin_email },
      })
      return {
        valid: attributes(keyFiles.good, admins.super),
        invalid: [
          { title: 'The key was deleted', attributes: attributes(keyFiles.deletedKey, admins.super) },
          { title: 'No domain-wide delegation', attributes: attributes(keyFiles.notDelegated, admins.super) },
          {
            title: 'One scope is not delegated',
            attributes: attributes(keyFiles.withoutGroups, admins.super),
          },
          { title: 'The Admin SDK API is off', attributes: attributes(keyFiles.apiDisabled, admins.super) },
          {
            title: 'The administrator does not exist',
            attributes: attributes(keyFiles.good, admins.unknown),
          },
          { title: 'Not an administrator', attributes: attributes(keyFiles.good, admins.notAdmin) },
          {
            title: 'The administrator is suspended',
            attributes: attributes(keyFiles.good, admins.suspended),
          },
          {
            title: 'The administrator may not read groups',
            attributes: attributes(keyFiles.good, admins.helpDesk),
          },
          {
            title: 'A domain of somebody else',
            attributes: attributes(keyFiles.good, admins.super, foreignDomain),
          },
          {
            title: 'The key file sends tokens elsewhere',
            attributes: attributes(
              { ...keyFiles.good, token_uri: 'https://tokens.example.net/token' },
              admins.super,
            ),
          },
        ],
      }
    },
  }
}
