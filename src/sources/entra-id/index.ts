/** Microsoft Entra ID as a source: users, groups, memberships, roles, devices and applications of one tenant. */
import { defineSource } from '../source.ts'
import { causes } from './causes.ts'
import { checks } from './checks.ts'
import { diagnose } from './diagnosis.ts'
import { reader } from './reader.ts'
import {
  type Credentials,
  cloudOf,
  credentialKinds,
  describeOperator,
  fromOperator,
  operatorEntry,
  operatorFields,
  principalOf,
  readCredentials,
  readDomain,
  secretsIn,
} from './secrets.ts'
import { openSession, type Session } from './session.ts'

export const entraId = defineSource<Credentials, Session>({
  name: 'entra-id',
  integrationType: 'ENTRA_ID',
  title: 'Microsoft Entra ID',
  domainField: {
    name: 'domain',
    title: 'Domain',
    help: 'A verified domain of the tenant: Microsoft Entra admin center > Domain names.',
    example: 'acme.com',
    docs: 'https://learn.microsoft.com/entra/fundamentals/add-custom-domain',
  },
  credentialKinds,
  operator: {
    key: 'entra_id',
    schema: operatorEntry,
    fields: operatorFields,
    describe: describeOperator,
    needed: ({ kind }) => kind === 'operator',
    complete: (_credentials, entry) => fromOperator(entry),
  },
  causes,
  checks,
  readDomain,
  readCredentials,
  secretsIn,
  principalOf,
  egress(target) {
    const cloud = cloudOf(target.credentials)
    if (cloud === undefined || !readDomain(target.domain).ok) return []
    return [
      { host: cloud.authority, chosenBy: 'provider' },
      { host: cloud.graph, chosenBy: 'provider' },
    ]
  },
  open: openSession,
  reader,
  diagnose,
})
