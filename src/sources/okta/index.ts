/** Okta: API tokens and service apps, checked against the organisation that `domain` names. */
import { defineSource, type SourceSettings } from '../source.ts'
import { causes, domainDocs } from './causes.ts'
import { checks, domainDiagnosis } from './checks.ts'
import { diagnose } from './diagnosis.ts'
import { organizationSuffixes, readHost } from './domain.ts'
import { createReader } from './reader.ts'
import { credentialKinds, type OktaCredentials, readCredentials, secretsIn } from './secrets.ts'
import { type OktaSession, openSession } from './session.ts'

export function createOkta({ customDomains }: SourceSettings) {
  const read = (domain: string) => readHost(domain, customDomains)
  return defineSource<OktaCredentials, OktaSession>({
    name: 'okta',
    integrationType: 'OKTA',
    title: 'Okta',
    domainField: {
      name: 'domain',
      title: 'Okta domain',
      help: "The organisation's address, as the Admin Console shows it in the menu of the signed-in user.",
      example: 'acme.okta.com',
      docs: domainDocs,
    },
    credentialKinds,
    causes,
    checks,
    readDomain(domain) {
      const reading = read(domain)
      return reading.ok
        ? { ok: true, domain: reading.host }
        : { ok: false, diagnosis: domainDiagnosis(reading) }
    },
    readCredentials,
    secretsIn,
    principalOf: (credentials) => (credentials.kind === 'service_app' ? credentials.clientId : undefined),
    egress({ domain }) {
      const reading = read(domain)
      if (!reading.ok) return []
      if (reading.kind === 'organization') return [{ host: reading.host, chosenBy: 'provider' }]
      return [
        { host: reading.host, chosenBy: 'customer' },
        ...organizationSuffixes.map((labelUnder) => ({ labelUnder, chosenBy: 'provider' }) as const),
      ]
    },
    reader: createReader(customDomains),
    open: ({ domain, credentials }, tools) => openSession(credentials, read(domain), tools),
    diagnose(error, check, { domain, credentials }) {
      const reading = read(domain)
      return diagnose(error, check, { credentials, host: reading.ok ? reading.host : 'the domain' })
    },
  })
}
