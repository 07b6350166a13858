/** Syncs of a configuration: how they stand, asked for, watched, cancelled, approved, paused. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Requester } from '../../configs/requester.ts'
import type { SyncRunRow } from '../../store/sync-runs.ts'
import { type Refusal, SyncRefusal } from '../../sync/refusal.ts'
import { type Caller, demandPermission } from '../authentication.ts'
import { errorSchema, forbidden, RequestError, sendJson } from '../errors.ts'
import { wantsEvents } from '../event-stream.ts'
import { echo, notFound, uuidIn } from '../not-found.ts'
import type { ServerParts } from '../parts.ts'
import type { Server } from '../server.ts'
import {
  planDocument,
  planSchema,
  removalDocument,
  removalSchema,
  runDocument,
  runSchema,
  sightOf,
  statusDocument,
  statusSchema,
} from './sync-documents.ts'
import { createRunStreams } from './sync-events.ts'
import { expecting } from './validate.ts'

export const syncPath = '/api/v2/credence/sync'

const defaultLimit = 50
const maxLimit = 1_000

const configParams = z.object({ config_id: z.string() })
const runParams = z.object({ config_id: z.string(), run_id: z.string() })

const expected = (what: string) => ({ error: () => `expected ${what}` })

const pageQuery = z.object({
  limit: z
    .string(expected(`a whole number from 1 to ${maxLimit}`))
    .regex(/^[1-9]\d{0,3}$/, expected(`a whole number from 1 to ${maxLimit}`))
    .transform(Number)
    .refine((limit) => limit <= maxLimit, expected(`a whole number from 1 to ${maxLimit}`))
    .optional()
    .meta({ description: `1 to ${maxLimit}; ${defaultLimit} unless given.` }),
  page_token: z
    .string(expected('a token of an earlier answer'))
    .max(200, expected('a token of an earlier answer'))
    // Empty: the first page, as at the end of the answer before it.
    .transform((token) => (token === '' ? undefined : token))
    .optional(),
})

const pageMeta = z.object({ next_token: z.string().describe('For `page_token`; empty at the end.') })

const runAnswer = z.object({ data: runSchema }).meta({ id: 'SyncRunResponse' })
const statusAnswer = z.object({ data: statusSchema }).meta({ id: 'SyncStatusResponse' })

/** Every member may be left out, and the body too. */
const requestBody = z
  .object(
    {
      data: z
        .object(
          {
            type: z.literal('sync_run', expecting('"sync_run"')).nullish(),
            attributes: z
              .object(
                {
                  mode: z
                    .enum(['full', 'incremental'], expecting('full or incremental'))
                    .nullish()
                    .describe('An increment where one is possible, otherwise everything, unless given.'),
                  dry_run: z
                    .boolean(expecting('true or false'))
                    .nullish()
                    .describe('Counts what would change, with a sample of it, and changes nothing.'),
                },
                expecting('an object with mode and dry_run'),
              )
              .nullish(),
          },
          expecting('an object with type and attributes'),
        )
        .nullish(),
    },
    expecting('a JSON object with the member data'),
  )
  .nullish()

const refusals = { 403: errorSchema, 404: errorSchema, 429: errorSchema, 503: errorSchema }
const tags = ['Credence']

export function syncRoutes(server: Server, parts: ServerParts): void {
  const { sync } = parts
  const streams = createRunStreams(parts)
  const read = { access: 'integrations_read' } as const
  /** Who would be removed is nothing but people and what is theirs. */
  const readEntities = { access: 'siem_entities_read' } as const
  const change = { access: 'manage_integrations', isBodyOptional: true } as const
  const of = `${syncPath}/:config_id` as const
  const sendRun = (reply: FastifyReply, run: SyncRunRow) =>
    sendJson(reply, JSON.stringify({ data: runDocument(run, new Date(), sightOf(reply.request)) }))
  const sendStatus = async (reply: FastifyReply, organizationId: string, configId: string) => {
    const status = await sync.status(organizationId, configId)
    sendJson(reply, JSON.stringify({ data: statusDocument(status, new Date(), sightOf(reply.request)) }))
  }

  server.get(
    of,
    {
      config: read,
      schema: {
        tags,
        operationId: 'getSyncStatus',
        summary: 'How the syncs of a configuration stand, and when they go on',
        params: configParams,
        response: { 200: statusAnswer, ...refusals },
      },
    },
    async (request, reply) => {
      await answering(request, ({ organization }) =>
        sendStatus(reply, organization.id, configIdIn(request.params)),
      )
      return reply
    },
  )

  server.get(
    `${of}/plan`,
    {
      config: read,
      schema: {
        tags,
        operationId: 'getSyncPlan',
        summary: 'How many requests to the provider syncs of a configuration are thought to take',
        description: 'From what the syncs so far have told. The provider is not asked.',
        params: configParams,
        response: {
          200: z.object({ data: planSchema }).meta({ id: 'SyncPlanResponse' }),
          400: errorSchema,
          ...refusals,
        },
      },
    },
    async (request, reply) => {
      await answering(request, async ({ organization }) => {
        const configId = configIdIn(request.params)
        const plan = await sync.plan(organization.id, configId)
        sendJson(reply, JSON.stringify({ data: planDocument(configId, plan) }))
      })
      return reply
    },
  )

  server.post(
    `${of}/runs`,
    {
      config: change,
      schema: {
        tags,
        operationId: 'requestSyncRun',
        summary: 'Ask for a sync now',
        description:
          'Answers the new run, or the one of the same kind that is queued or under way already. What it comes to is told by the run.',
        params: configParams,
        body: requestBody,
        response: { 200: runAnswer, 400: errorSchema, ...refusals },
      },
    },
    async (request, reply) => {
      await answering(request, async (who) => {
        const { mode, dry_run } = request.body?.data?.attributes ?? {}
        const run = await sync.request(who, configIdIn(request.params), {
          ...(mode && { mode }),
          isDryRun: dry_run === true,
        })
        sendRun(reply, run)
      })
      return reply
    },
  )

  server.get(
    `${of}/runs`,
    {
      config: read,
      schema: {
        tags,
        operationId: 'listSyncRuns',
        summary: 'List the syncs of a configuration, the newest first',
        description: 'Those that are over are kept for 30 days.',
        params: configParams,
        querystring: pageQuery,
        response: {
          200: z
            .object({ data: z.array(runSchema), meta: z.object({ page: pageMeta }) })
            .meta({ id: 'SyncRunsResponse' }),
          400: errorSchema,
          ...refusals,
        },
      },
    },
    async (request, reply) => {
      await answering(request, async ({ organization }) => {
        const { limit = defaultLimit, page_token } = request.query
        const beforeId = page_token === undefined ? undefined : readRunToken(page_token)
        const rows = await sync.list(organization.id, configIdIn(request.params), {
          ...(beforeId !== undefined && { beforeId }),
          limit: limit + 1,
        })
        const page = rows.slice(0, limit)
        const last = rows.length > limit ? page.at(-1) : undefined
        const [now, sight] = [new Date(), sightOf(request)]
        sendJson(
          reply,
          JSON.stringify({
            data: page.map((row) => runDocument(row, now, sight)),
            meta: { page: { next_token: last === undefined ? '' : tokenOf('run', last.id) } },
          }),
        )
      })
      return reply
    },
  )

  server.get(
    `${of}/runs/:run_id`,
    {
      config: read,
      schema: {
        tags,
        operationId: 'getSyncRun',
        summary: 'Get a sync of a configuration',
        description:
          'With `Accept: text/event-stream` the answer is a stream of server-sent events: `progress` while it goes on, then `end` with the run. A server that stops ends the stream without `end`: ask again. A key that is revoked meanwhile ends it with `error`.',
        params: runParams,
        response: {
          200: {
            description: 'The run.',
            content: {
              'application/json': { schema: runAnswer },
              'text/event-stream': { schema: z.string() },
            },
          },
          ...refusals,
        },
      },
    },
    async (request, reply) => {
      await answering(request, async ({ organization }) => {
        const { configId, runId } = runIdsIn(request.params)
        const find = () => sync.get(organization.id, configId, runId)
        if (wantsEvents(request.headers.accept)) await streams.send(request, reply, find)
        else sendRun(reply, await find())
      })
      return reply
    },
  )

  const steps = {
    cancel: {
      operationId: 'cancelSyncRun',
      summary: 'Cancel a sync',
      description:
        'One that is queued ends at once, one that is under way within seconds: see its status. Nothing of it is applied.',
    },
    approve: {
      operationId: 'approveSyncRun',
      summary: 'Have a quarantined sync applied as it stands',
      description:
        'Takes `siem_entities_read` too, so that whoever approves can see whom it would remove. Entities that another sync has changed since are left as that one knows them. What it comes to is told by the run.',
    },
    reject: {
      operationId: 'rejectSyncRun',
      summary: 'Give a quarantined sync up',
      description: 'Nothing of it is applied. The next full sync may be held again for the same reason.',
    },
  } as const
  for (const step of ['cancel', 'approve', 'reject'] as const) {
    server.post(
      `${of}/runs/:run_id/${step}`,
      {
        config: change,
        schema: {
          tags,
          ...steps[step],
          params: runParams,
          response: { 200: runAnswer, 400: errorSchema, ...refusals },
        },
      },
      async (request, reply) => {
        // Nobody is to let go whom they may not see.
        if (step === 'approve') demandPermission(callerOf(request), readEntities.access)
        await answering(request, async (who) => {
          const { configId, runId } = runIdsIn(request.params)
          sendRun(reply, await sync[step](who, configId, runId))
        })
        return reply
      },
    )
  }

  server.get(
    `${of}/runs/:run_id/removals`,
    {
      config: readEntities,
      schema: {
        tags,
        operationId: 'listSyncRemovals',
        summary: 'List what a quarantined sync would remove',
        description: 'Takes the permission `siem_entities_read`, and no other.',
        params: runParams,
        querystring: pageQuery,
        response: {
          200: z
            .object({
              data: z.array(removalSchema),
              meta: z.object({ page: pageMeta, total_count: z.int() }),
            })
            .meta({ id: 'SyncRemovalsResponse' }),
          400: errorSchema,
          ...refusals,
        },
      },
    },
    async (request, reply) => {
      await answering(request, async ({ organization }) => {
        const { configId, runId } = runIdsIn(request.params)
        const { limit = defaultLimit, page_token } = request.query
        const after = page_token === undefined ? undefined : readRemovalToken(page_token)
        const { rows, total } = await sync.removals(organization.id, configId, runId, {
          ...(after && { after }),
          limit: limit + 1,
        })
        const page = rows.slice(0, limit)
        const last = rows.length > limit ? page.at(-1) : undefined
        sendJson(
          reply,
          JSON.stringify({
            data: page.map(removalDocument),
            meta: {
              page: {
                next_token: last === undefined ? '' : tokenOf('removal', `${last.kind} ${last.entity_id}`),
              },
              total_count: total,
            },
          }),
        )
      })
      return reply
    },
  )

  const switches = {
    pause: {
      operationId: 'pauseSync',
      summary: 'Begin no sync of a configuration by itself any more',
      description: 'One that is under way goes on; one that is asked for is done.',
    },
    resume: {
      operationId: 'resumeSync',
      summary: 'Go on with the syncs of a configuration',
      description: 'What was due meanwhile begins at once.',
    },
  } as const
  for (const name of ['pause', 'resume'] as const) {
    server.post(
      `${of}/${name}`,
      {
        config: change,
        schema: {
          tags,
          ...switches[name],
          params: configParams,
          response: { 200: statusAnswer, ...refusals },
        },
      },
      async (request, reply) => {
        await answering(request, async (who) => {
          const configId = configIdIn(request.params)
          await sync[name](who, configId)
          await sendStatus(reply, who.organization.id, configId)
        })
        return reply
      },
    )
  }
}

function callerOf({ caller }: FastifyRequest): Caller {
  if (caller === null) throw forbidden()
  return caller
}

/** Does the work for the caller, and answers what is refused. */
async function answering(
  request: FastifyRequest,
  work: (who: Pick<Requester, 'organization' | 'actor'>) => Promise<void>,
): Promise<void> {
  const { id, organization } = callerOf(request)
  try {
    await work({
      organization,
      actor: {
        id,
        organizationId: organization.id,
        address: request.ip,
        requestId: request.id,
      },
    })
  } catch (error) {
    throw error instanceof SyncRefusal ? answerTo(error.refusal) : error
  }
}

/** @throws SyncRefusal for what cannot be the id of anything */
function configIdIn({ config_id: id }: z.infer<typeof configParams>): string {
  const uuid = uuidIn(id)
  if (uuid === undefined) throw new SyncRefusal({ kind: 'config_not_found', id })
  return uuid
}

/** The run's may be the id of nothing: that is found out where the configuration is there. */
function runIdsIn(params: z.infer<typeof runParams>) {
  return { configId: configIdIn(params), runId: uuidIn(params.run_id) ?? nobody }
}
const nobody = '00000000-0000-0000-0000-000000000000'

const whyNoIncrement = {
  source: 'the source tells no changes, and everything is read each time',
  no_full_run: 'no full sync has been completed yet',
  other_credentials: 'the credentials or the domain have changed since the last full sync',
} as const

function answerTo(refusal: Refusal): RequestError {
  switch (refusal.kind) {
    case 'config_not_found':
      return notFound(`Integration config with ID${echo(refusal.id)} not found`)
    case 'run_not_found':
      return notFound(`Sync run with ID${echo(refusal.id)} not found`)
    case 'disabled':
      return invalid('The configuration is switched off, so that nothing of it is read. Enable it first.')
    case 'not_readable':
      return invalid(`Entities of ${refusal.type} cannot be synchronised by this release.`)
    case 'no_increment':
      return invalid(`data.attributes.mode: expected full, as ${whyNoIncrement[refusal.why]}`)
    case 'another_active':
      return invalid(
        `The run ${refusal.runId} (${refusal.mode}${refusal.isDryRun ? ', dry' : ''}) is queued or under way. Wait for its end, or cancel it.`,
      )
    case 'outdated':
      return invalid(
        `The run ${refusal.runId} was read with other credentials, or of another domain, than the configuration has now. Run a full sync; if it would remove as much, it will ask for approval.`,
      )
    case 'being_applied':
      return invalid(`The run ${refusal.runId} is being applied just now. See how it ends.`)
    case 'wrong_status':
      return invalid(
        `The run ${refusal.runId} is ${refusal.status}; this takes one that is ${refusal.wanted}.`,
      )
  }
}

const invalid = (text: string) => new RequestError('invalid_request', text)

/** Where a page ended; of no meaning to anybody else, and of no use against another configuration. */
const tokenOf = (what: 'run' | 'removal', place: string) =>
  Buffer.from(`${what} ${place}`).toString('base64url')

const wrongToken = () => invalid('page_token: expected a token of an earlier answer')

function readRunToken(token: string): string {
  const [, id] = /^run ([\w-]{36})$/.exec(textOf(token)) ?? []
  const uuid = uuidIn(id ?? '')
  if (uuid === undefined) throw wrongToken()
  return uuid
}

function readRemovalToken(token: string): { readonly kind: number; readonly entity_id: string } {
  const [, kind, id] = /^removal (\d) ([\w-]{36})$/.exec(textOf(token)) ?? []
  const uuid = uuidIn(id ?? '')
  if (uuid === undefined) throw wrongToken()
  return { kind: Number(kind), entity_id: uuid }
}

const textOf = (token: string) => Buffer.from(token, 'base64url').toString('latin1')
