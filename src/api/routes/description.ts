/** The API's description: OpenAPI 3.1 from the schemas that parse the requests, and a page that shows it. */
import { readFileSync } from 'node:fs'
import { findPackageJSON } from 'node:module'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import { createJsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { permissions } from '../../store/permissions.ts'
import { sendJson } from '../errors.ts'
import type { Server } from '../server.ts'

/**
 * Everything the page needs comes from this server. `data:` is for the page's icons, which its style sheet holds;
 * styles are set on elements by its script.
 */
const pagePolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const pagePath = '/docs'

export async function describeApi(server: Server): Promise<void> {
  await server.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Credence',
        ...packageFacts(),
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      components: {
        securitySchemes: {
          apiKeyAuth: { type: 'apiKey', in: 'header', name: 'DD-API-KEY' },
          appKeyAuth: { type: 'apiKey', in: 'header', name: 'DD-APPLICATION-KEY' },
          bearerAuth: {
            type: 'http',
            scheme: 'bearer',
            description: `An access token of a configured issuer with the scope that the operation asks for (${permissions.join(', ')}), or a personal or service access token of this server.`,
          },
        },
      },
      security: [{ apiKeyAuth: [], appKeyAuth: [] }, { bearerAuth: [] }],
    },
    transform: (document) => {
      const { schema, url } = transform(document)
      return {
        schema: document.route.config?.access === 'public' ? { security: [], ...schema } : schema,
        url,
      }
    },
    transformObject: (document) => withoutUnusedSchemas(jsonSchemaTransformObject(document)),
  })

  await server.register(async (page) => {
    // The page's routes are the plugin's own, which cannot declare whom they serve.
    page.addHook('onRoute', (route) => {
      route.config = { ...route.config, access: 'public' }
    })
    await page.register(swaggerUi, {
      routePrefix: pagePath,
      staticCSP: pagePolicy,
      // No call to a validator on the internet.
      uiConfig: { validatorUrl: null, docExpansion: 'list', tryItOutEnabled: false },
      theme: { title: 'Credence API' },
    })
  })

  let description: string | undefined
  server.get(
    '/openapi.json',
    {
      config: { access: 'public' },
      schema: { tags: ['Operation'], summary: 'This description', response: { 200: z.looseObject({}) } },
    },
    (_, reply) => {
      description ??= JSON.stringify(server.swagger())
      sendJson(reply, description)
    },
  )
  server.get('/', { config: { access: 'public' }, schema: { hide: true } }, (_, reply) =>
    reply.redirect(`${pagePath}/`),
  )
}

/** Version and description, from the package.json above this file, in a checkout as in a build. */
function packageFacts(): { version: string; description: string } {
  const file = findPackageJSON('..', import.meta.url)
  if (file === undefined) throw new Error('no package.json above src/api')
  const { version, description } = packageSchema.parse(JSON.parse(readFileSync(file, 'utf8')))
  return { version, description }
}

/** Each shared schema comes in two forms, for requests and for answers; most are needed in one. */
function withoutUnusedSchemas<D extends { components?: { schemas?: object }; paths?: object }>(
  document: D,
): D {
  const schemas = new Map(Object.entries(document.components?.schemas ?? {}))
  const used = new Set<string>()
  const follow = (part: unknown) => {
    for (const [, name = ''] of JSON.stringify(part ?? null).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      if (used.has(name)) continue
      used.add(name)
      follow(schemas.get(name))
    }
  }
  follow(document.paths)
  const kept = Object.fromEntries([...schemas].filter(([name]) => used.has(name)))
  return { ...document, components: { ...document.components, schemas: kept } }
}

const packageSchema = z.object({ version: z.string(), description: z.string() })

const transform = createJsonSchemaTransform({ skipList: [] })
