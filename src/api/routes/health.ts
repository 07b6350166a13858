/** For orchestrators and Prometheus: whether the process lives, whether it takes work, and how it does. */
import { z } from 'zod'
import { errorSchema, sendErrors, sendJson } from '../errors.ts'
import type { ServerParts } from '../parts.ts'
import type { Server } from '../server.ts'

const statusSchema = z.object({ status: z.literal('ok') })
const ok = JSON.stringify({ status: 'ok' } satisfies z.infer<typeof statusSchema>)

export function healthRoutes(server: Server, { isDatabaseAnswering, lifecycle, metrics }: ServerParts): void {
  server.get(
    '/healthz',
    {
      config: { access: 'public' },
      schema: { tags: ['Operation'], summary: 'Whether the process lives', response: { 200: statusSchema } },
    },
    (_, reply) => {
      sendJson(reply, ok)
    },
  )
  server.get(
    '/readyz',
    {
      config: { access: 'public' },
      schema: {
        tags: ['Operation'],
        summary: 'Whether the server takes work; 503 while it shuts down or its database does not answer',
        response: { 200: statusSchema, 503: errorSchema },
      },
    },
    (_, reply) => {
      if (!lifecycle.isReady()) sendErrors(reply, 503, ['Shutting down'])
      else if (!isDatabaseAnswering()) sendErrors(reply, 503, ['The database does not answer'])
      else sendJson(reply, ok)
    },
  )
  server.get(
    '/metrics',
    {
      config: { access: 'public' },
      schema: {
        tags: ['Operation'],
        summary: "Metrics in Prometheus' text format",
        response: { 200: z.string() },
      },
    },
    async (_, reply) => reply.header('content-type', metrics.contentType).send(await metrics.text()),
  )
}
