/** What Datadog's official client does with configurations, whichever server it is pointed at. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, afterEach, before, describe, test } from 'node:test'
import type { v2 } from '@datadog/datadog-api-client'
import { UnparsedObject } from '@datadog/datadog-api-client/dist/packages/datadog-api-client-common/util.js'
import type { ExampleAttributes } from '../../sandbox/provider.ts'
import type { Lasting } from '../running-command.ts'
import { datadogClient, refusalOf } from './datadog-client.ts'
import type { KeyPair } from './server.ts'

type Source = 'okta' | 'google_workspace' | 'entra_id'

export interface ConfigurationsServer {
  readonly origin: string
  /** In place of the client's own. */
  readonly fetch?: typeof globalThis.fetch
  /** Of the organisation to which the operator's own credentials are bound. */
  readonly keys: KeyPair
  /** Of the same organisation, with `integrations_read` alone. */
  readonly reader: KeyPair
  /** Of another organisation, with the permissions of `keys`. */
  readonly stranger: KeyPair
  /** As they go over the wire. */
  readonly examples: Readonly<
    Record<
      Source,
      {
        readonly valid: ExampleAttributes
        readonly invalid: readonly { readonly title: string; readonly attributes: ExampleAttributes }[]
      }
    >
  >
}

type CreateAttributes = v2.SecurityMonitoringIntegrationConfigCreateAttributes
type UpdateAttributes = v2.SecurityMonitoringIntegrationConfigUpdateAttributes
type Type = 'OKTA' | 'GOOGLE_WORKSPACE' | 'ENTRA_ID'

const body = <A>(attributes: A) => ({ data: { type: 'integration_config' as const, attributes } })

/** Attributes that the client's models cannot hold. */
const onTheWire = (attributes: object) => new UnparsedObject(attributes)

/** Every operation on configurations, by one key pair. */
function connect({ origin, fetch }: ConfigurationsServer, keys: KeyPair) {
  const api = datadogClient({ origin, keys, ...(fetch && { fetch }) }).securityMonitoring
  return {
    create: async (attributes: CreateAttributes) =>
      (await api.createSecurityMonitoringIntegrationConfig({ body: body(attributes) })).data,
    list: async (filterIntegrationType?: Type) =>
      (
        await api.listSecurityMonitoringIntegrationConfigs(
          filterIntegrationType === undefined ? {} : { filterIntegrationType },
        )
      ).data,
    get: async (integrationConfigId: string) =>
      (await api.getSecurityMonitoringIntegrationConfig({ integrationConfigId })).data,
    update: async (integrationConfigId: string, attributes: UpdateAttributes) =>
      (
        await api.updateSecurityMonitoringIntegrationConfig({
          integrationConfigId,
          body: body(attributes),
        })
      ).data,
    remove: (integrationConfigId: string) =>
      api.deleteSecurityMonitoringIntegrationConfig({ integrationConfigId }),
    validate: (integrationConfigId: string) =>
      api.validateSecurityMonitoringIntegrationConfig({ integrationConfigId }),
    activate: async (
      integrationType: string,
      attributes?: v2.SecurityMonitoringIntegrationActivateAttributes,
    ) =>
      (
        await api.activateIntegration({
          integrationType,
          ...(attributes && { body: { data: { type: 'activate_entra_id_request', attributes } } }),
        })
      ).data,
    deactivate: async (integrationType: string) =>
      (await api.deactivateIntegration({ integrationType })).data,
    registrations: async () => (await api.getEntraIdAzureAppRegistrations()).data,
  }
}

/** Declares the tests; `start` is called once. */
export function describeConfigurations(
  title: string,
  start: (file: Lasting) => Promise<ConfigurationsServer>,
): void {
  describe(title, () => {
    const ends: (() => unknown)[] = []
    let server: ConfigurationsServer
    let client: ReturnType<typeof connect>
    before(async () => {
      server = await start({ after: (end) => ends.push(end) })
      client = connect(server, server.keys)
    })
    afterEach(async () => {
      for (const { id } of await client.list()) await client.remove(id)
    })
    after(async () => {
      for (const end of ends.reverse()) await end()
    })

    /** In the client's own models. */
    const typed = (): { type: Type; attributes: CreateAttributes & { domain: string; name: string } }[] => {
      const { okta, google_workspace, entra_id } = server.examples
      const { admin_email, service_account_json } = google_workspace.valid.secrets ?? {}
      const { type, project_id, client_email, private_key, ...further } = service_account_json as Record<
        string,
        unknown
      >
      return [
        {
          type: 'OKTA',
          attributes: {
            integrationType: 'OKTA',
            domain: okta.valid.domain,
            name: 'Okta',
            secrets: { apiToken: String(okta.valid.secrets?.api_token) },
            settings: { setting1: 'value1' },
          },
        },
        {
          type: 'GOOGLE_WORKSPACE',
          attributes: {
            integrationType: 'GOOGLE_WORKSPACE',
            domain: google_workspace.valid.domain,
            name: 'Google',
            secrets: {
              adminEmail: String(admin_email),
              serviceAccountJson: {
                type: type as 'service_account',
                projectId: String(project_id),
                clientEmail: String(client_email),
                privateKey: String(private_key),
                additionalProperties: further,
              },
            },
          },
        },
        {
          type: 'ENTRA_ID',
          attributes: { integrationType: 'ENTRA_ID', domain: entra_id.valid.domain, name: 'Entra' },
        },
      ]
    }

    for (const [at, type] of (['OKTA', 'GOOGLE_WORKSPACE', 'ENTRA_ID'] as const).entries()) {
      test(`${type}: create, list, filter, get, update, validate, deactivate, activate, delete`, async () => {
        const attributes = typed()[at]?.attributes
        assert.ok(attributes)
        const created = await client.create(attributes)
        const { createdAt, modifiedAt, ...made } = created.attributes
        assert.ok(createdAt instanceof Date && modifiedAt instanceof Date)
        assert.partialDeepStrictEqual(
          { ...made },
          {
            domain: attributes.domain,
            enabled: true,
            integrationType: type,
            name: attributes.name,
            settings: type === 'OKTA' ? { setting1: 'value1' } : {},
            state: 'valid',
          },
        )
        assert.deepEqual(
          [created.type, created._unparsed, created.attributes._unparsed],
          ['integration_config', undefined, undefined],
        )
        const { id } = created
        assert.deepEqual(await client.list(), [created])
        assert.deepEqual(await client.list(type), [created])
        assert.deepEqual(await client.list(type === 'OKTA' ? 'ENTRA_ID' : 'OKTA'), [])
        assert.deepEqual(await client.get(id), created)

        const updated = await client.update(id, {
          integrationType: type,
          name: 'Renamed',
          enabled: false,
          settings: { note: 'kept', nested: { a: [1] } },
        } as UpdateAttributes)
        assert.partialDeepStrictEqual(
          { ...updated.attributes },
          { name: 'Renamed', enabled: false, settings: { note: 'kept', nested: { a: [1] } }, state: 'valid' },
        )
        assert.deepEqual(await client.get(id), updated)
        await client.validate(id)

        const inAddress = type.toLowerCase()
        const active = await client.activate(inAddress, { domain: 'default' })
        assert.deepEqual([active.id, active.attributes.enabled], [id, true])
        const inactive = await client.deactivate(inAddress)
        assert.deepEqual([inactive.id, inactive.attributes.enabled], [id, false])
        for (let again = 0; again < 2; again += 1) {
          const same = await client.activate(inAddress)
          assert.deepEqual([same.id, same.attributes.enabled], [id, true])
        }
        assert.equal((await client.list()).length, 1)

        await client.remove(id)
        assert.equal((await refusalOf(client.get(id))).code, 404)
        assert.deepEqual(await client.list(), [])
      })
    }

    test('all three stand side by side, and a filter finds each', async () => {
      for (const { attributes } of typed()) await client.create(attributes)
      assert.equal((await client.list()).length, 3)
      for (const { type } of typed())
        assert.deepEqual(
          (await client.list(type)).map((one) => one.attributes.integrationType),
          [type],
        )
    })

    test('credentials of a tenant of their own, which the models do not know, are kept as well', async () => {
      const { valid } = server.examples.entra_id
      const { id, attributes } = await client.create(onTheWire({ ...valid, name: 'Own tenant' }))
      assert.deepEqual([attributes.domain, attributes.state], [valid.domain, 'valid'])
      await client.validate(id)
    })

    test('secrets are replaced by new ones alone, and come back in no answer', async () => {
      const [okta] = typed()
      assert.ok(okta)
      const { id } = await client.create(okta.attributes)
      const { secrets } = okta.attributes as v2.SecurityMonitoringOktaIntegrationConfigCreateAttributes
      const updated = await client.update(id, { integrationType: 'OKTA', secrets })
      const told = JSON.stringify([updated, await client.get(id), await client.list()])
      assert.ok(!told.includes(secrets.apiToken))
      for (const wrong of [
        { integrationType: 'OKTA', secrets: { apiToken: '00wrong-wrong-wrong-wrong-wrong-wrong-wron' } },
        { integrationType: 'OKTA', domain: 'other.okta.com' },
        { integrationType: 'ENTRA_ID', name: 'x' },
      ] as const) {
        const { code, errors } = await refusalOf(client.update(id, wrong))
        assert.equal(code, 400)
        assert.ok(errors.length > 0 && errors.every((error) => error.length > 20), errors.join())
      }
      assert.deepEqual(await client.get(id), updated)
      await client.validate(id)
    })

    test('Entra ID is activated from the registrations that the client can list', async () => {
      const { type, id, attributes } = await client.registrations()
      assert.deepEqual(
        [type, attributes.hasValidPrerequisite, attributes._unparsed],
        ['entra_id_azure_app_registrations', true, undefined],
      )
      assert.match(id, /^[0-9a-f-]{36}$/)
      assert.equal(attributes.azureAppRegistrations.length, 1)
      const made = await client.activate('entra_id', { domain: server.examples.entra_id.valid.domain })
      assert.partialDeepStrictEqual({ ...made.attributes }, { enabled: true, state: 'valid' })
      assert.equal((await client.activate('entra_id')).id, made.id)
      assert.equal((await client.list('ENTRA_ID')).length, 1)
    })

    test('activations at the same time make one configuration', async () => {
      const made = await Promise.all(Array.from({ length: 9 }, () => client.activate('entra_id')))
      assert.equal(new Set(made.map(({ id }) => id)).size, 1)
      assert.equal((await client.list()).length, 1)
    })

    test('what the provider refuses is a typed error that says why, and nothing is kept', async () => {
      for (const { invalid } of Object.values(server.examples)) {
        const [refused] = invalid
        assert.ok(refused)
        const { code, errors } = await refusalOf(
          client.create(onTheWire({ ...refused.attributes, name: refused.title })),
        )
        assert.equal(code, 400, refused.title)
        assert.ok(errors.length > 0 && errors.every((error) => error.length > 20), errors.join())
      }
      assert.deepEqual(await client.list(), [])
    })

    test('bad requests are typed errors that name the field', async () => {
      for (const { type, attributes } of typed()) {
        const wrong = { ...attributes, domain: 'not a domain' } as CreateAttributes
        const { code, errors } = await refusalOf(client.create(wrong))
        assert.equal(code, 400)
        assert.ok(errors.length > 0, type)
      }
      const { okta } = server.examples
      for (const [attributes, field] of [
        [{ ...okta.valid }, 'name'],
        [{ ...okta.valid, name: 'x', domain: 1 }, 'domain'],
        [{ ...okta.valid, name: 'x', integration_type: 'NOBODY' }, 'integration_type'],
        [{ ...okta.valid, name: 'x', settings: 'text' }, 'settings'],
        [{ ...okta.valid, name: 'x', secrets: undefined }, 'secrets'],
      ] as const) {
        const { code, errors } = await refusalOf(client.create(onTheWire(attributes)))
        assert.equal(code, 400, field)
        assert.ok(
          errors.some((error) => error.includes(`data.attributes.${field}`)),
          errors.join(),
        )
      }
    })

    test('a second configuration of one domain is refused with the first', async () => {
      const [okta] = typed()
      assert.ok(okta)
      const { id } = await client.create(okta.attributes)
      const { code, errors } = await refusalOf(client.create(okta.attributes))
      assert.equal(code, 400)
      assert.ok(errors[0]?.includes(id), errors[0])
    })

    test('what is not found is a typed error for every operation', async () => {
      const id = randomUUID()
      const missing = [`not_found(Integration config with ID ${id} not found)`]
      for (const call of [
        () => client.get(id),
        () => client.remove(id),
        () => client.validate(id),
        () => client.update(id, { integrationType: 'OKTA', name: 'x' }),
      ])
        assert.partialDeepStrictEqual(await refusalOf(call()), { code: 404, errors: missing })
      for (const call of [
        () => client.activate('unknown'),
        () => client.deactivate('unknown'),
        () => client.activate('okta'),
        () => client.deactivate('okta'),
      ]) {
        const { code, errors } = await refusalOf(call())
        assert.equal(code, 404)
        assert.ok(errors[0]?.startsWith('not_found('), errors.join())
      }
    })

    test('another organisation finds nothing of it', async () => {
      const [okta] = typed()
      assert.ok(okta)
      const { id } = await client.create(okta.attributes)
      const stranger = connect(server, server.stranger)
      assert.deepEqual(await stranger.list(), [])
      for (const call of [
        () => stranger.get(id),
        () => stranger.remove(id),
        () => stranger.validate(id),
        () => stranger.update(id, { integrationType: 'OKTA', name: 'x' }),
        () => stranger.deactivate('okta'),
      ])
        assert.equal((await refusalOf(call())).code, 404)
      assert.deepEqual((await stranger.registrations()).attributes.azureAppRegistrations, [])
      assert.equal((await client.get(id)).attributes.enabled, true)
    })

    test('whoever may only read reads and validates, and changes nothing', async () => {
      const [okta] = typed()
      assert.ok(okta)
      const created = await client.create(okta.attributes)
      const reader = connect(server, server.reader)
      assert.deepEqual([await reader.get(created.id), await reader.list()], [created, [created]])
      await reader.validate(created.id)
      for (const call of [
        () => reader.create(okta.attributes),
        () => reader.update(created.id, { integrationType: 'OKTA', name: 'x' }),
        () => reader.remove(created.id),
        () => reader.activate('okta'),
        () => reader.deactivate('okta'),
      ])
        assert.partialDeepStrictEqual(await refusalOf(call()), {
          code: 403,
          errors: ['Forbidden', 'Failed permission authorization checks'],
        })
      const nobody = connect(server, { apiKey: '0'.repeat(32), applicationKey: '0'.repeat(40) })
      assert.partialDeepStrictEqual(await refusalOf(nobody.list()), { code: 403, errors: ['Forbidden'] })
    })
  })
}
