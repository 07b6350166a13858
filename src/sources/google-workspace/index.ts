/** Google Workspace: a service account with domain-wide delegation reads the Admin SDK's Directory API. */
import { causeOf } from '../cause.ts'
import { defineSource } from '../source.ts'
import { scopes } from './access.ts'
import { causes } from './causes.ts'
import { checks } from './checks.ts'
import { diagnose } from './diagnosis.ts'
import { reader } from './reader.ts'
import {
  canonicalDomain,
  completeByOperator,
  credentialKinds,
  describeOperator,
  type GoogleCredentials,
  operatorFields,
  operatorSchema,
  readCredentials,
} from './secrets.ts'
import { type GoogleSession, openSession } from './session.ts'

export const googleWorkspace = defineSource<GoogleCredentials, GoogleSession>({
  name: 'google-workspace',
  integrationType: 'GOOGLE_WORKSPACE',
  title: 'Google Workspace',
  domainField: {
    name: 'domain',
    title: 'Domain',
    help: 'A domain of the Google Workspace: the primary one, a secondary one or an alias.',
    example: 'example.com',
    docs: 'https://support.google.com/a/answer/182080',
  },
  credentialKinds,
  operator: {
    key: 'google_workspace',
    schema: operatorSchema,
    fields: operatorFields,
    describe: describeOperator,
    needed: (credentials) => credentials.kind === 'operator' && !credentials.hasServiceAccount,
    complete: completeByOperator,
  },
  causes,
  checks,

  readDomain(given) {
    const domain = canonicalDomain(given)
    return domain === undefined
      ? { ok: false, diagnosis: causeOf(causes, 'google_domain_malformed') }
      : { ok: true, domain }
  },
  readCredentials,
  secretsIn: (credentials) => credentials.secrets(),
  // With the operator's service account there is no secret to guess.
  principalOf: (credentials) =>
    credentials.kind === 'service_account' ? credentials.text('client_email') : undefined,
  egress: ({ domain }) =>
    canonicalDomain(domain) === undefined
      ? []
      : [
          { host: 'oauth2.googleapis.com', chosenBy: 'provider' },
          { host: 'admin.googleapis.com', chosenBy: 'provider' },
        ],
  open: openSession,
  reader,
  diagnose: (error, check, { credentials, domain }) =>
    diagnose(error, credentials, {
      domain: canonicalDomain(domain),
      scope: Object.values(scopes).find((scope) => scope === (error.hints.only_scope ?? check.needs?.name)),
      privilege: check.needs?.kind === 'role' ? check.needs.name : undefined,
    }),
})
