/** The HTTP server: what happens to every request before and after its route. */
import { randomUUID } from 'node:crypto'
import type { Server as HttpServer, IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
  type RouteOptions,
} from 'fastify'
import { serializerCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod'
import type { z } from 'zod'
import { type Caller, demandPermission } from './authentication.ts'
import { acceptJsonBodies, bodyTimeoutMs, maxBodyBytes } from './body.ts'
import { errorLine } from './error-line.ts'
import {
  describeRequestError,
  errorBody,
  phraseOf,
  RequestError,
  schemaFault,
  sendErrors,
  sendJson,
  tooManyRequests,
} from './errors.ts'
import type { ServerParts } from './parts.ts'
import { sendStanding } from './rate-limits.ts'
import { auditRoutes } from './routes/audit.ts'
import { configRoutes } from './routes/configs.ts'
import { describeApi } from './routes/description.ts'
import { entityRoutes } from './routes/entities.ts'
import { entityContextRoutes } from './routes/entity-context.ts'
import { healthRoutes } from './routes/health.ts'
import { keyCheckRoutes } from './routes/key-checks.ts'
import { syncRoutes } from './routes/sync.ts'
import { validateRoute } from './routes/validate.ts'
import { createWebOriginGuard } from './web-origin.ts'

/** A Fastify whose routes are typed by their schemas. */
export type Server = FastifyInstance<
  HttpServer,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>

/** Longest time the headers of a request may take, in milliseconds. */
const headersTimeoutMs = 10_000
/** Backstop for a whole request; bodies have a limit of their own that is answered in full form. */
const requestTimeoutMs = headersTimeoutMs + bodyTimeoutMs
/** How often slow senders are looked for, in milliseconds. */
const checkingIntervalMs = 1_000
/** How long a connection may be idle between two requests, in milliseconds. */
const keepAliveTimeoutMs = 65_000

/**
 * Builds the server; it listens to nobody yet.
 *
 * @param addRoutes further routes, which go through everything that the server's own go through
 */
export async function createServer(
  parts: ServerParts,
  addRoutes: (server: Server) => void = () => {},
): Promise<Server> {
  const { authentication, rateLimits, metrics, log } = parts
  const server: Server = fastify({
    // Fastify's own lines repeat addresses with their query strings: ours are written below.
    logger: false,
    genReqId: requestId,
    requestIdHeader: false,
    trustProxy: false,
    bodyLimit: maxBodyBytes,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: keepAliveTimeoutMs,
    // Requests that arrive while the server is closing are answered as any other.
    return503OnClosing: false,
    http: {
      headersTimeout: headersTimeoutMs,
      connectionsCheckingInterval: checkingIntervalMs,
      // A missing Host header is refused in our form instead.
      requireHostHeader: false,
    },
    frameworkErrors: (error, request, reply) => refuseAddress(error, request, reply),
    clientErrorHandler: (error, socket) => refuseGarbage(error, socket as Socket),
  }).withTypeProvider<ZodTypeProvider>()

  // The type provider's own compiler turns each issue into Fastify's form, out of which the error form would be made again.
  server.setValidatorCompiler<z.ZodType>(({ schema, httpPart = 'body' }) => (data) => {
    const read = schema.safeParse(data)
    return read.success ? { value: read.data } : { error: schemaFault(read.error.issues, httpPart) }
  })
  server.setSerializerCompiler(serializerCompiler)
  acceptJsonBodies(server)
  server.decorateRequest('caller', null)
  server.decorateRequest('redact', null)
  server.setErrorHandler(answerError)

  const routes = demandDeclaredAccess(server)
  const guardOrigin = createWebOriginGuard(parts.webOrigin)
  /** How many requests of a connection wait for their answer. */
  const unanswered = new WeakMap<Socket, number>()

  const count = async (request: FastifyRequest, reply: FastifyReply, caller: Caller) => {
    request.caller = caller
    const standing = await rateLimits.countCaller(request.routeOptions.config.limit ?? 'requests', caller.id)
    sendStanding(reply, standing)
    if (standing.isExceeded) throw tooManyRequests()
  }

  /** Lets a request in or throws. A promise only where something has to be waited for. */
  const admit = (request: FastifyRequest, reply: FastifyReply): Promise<void> | undefined => {
    const { access } = request.routeOptions.config
    guardOrigin(request, access === 'public')
    if (access === 'public') return undefined
    if (access === undefined) throw new Error('a route without declared access was reached')
    const enter = async (caller: Caller) => {
      await count(request, reply, caller)
      demandPermission(caller, access)
    }
    const caller = authentication.callerOf(request, access)
    return caller instanceof Promise ? caller.then(enter) : enter(caller)
  }

  /** Answers what no route takes, before a body is read. Strangers get the same answer; only callers are counted. */
  const refuseUnmatched = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    guardOrigin(request, true)
    let caller: Caller | undefined
    try {
      caller = await authentication.callerOf(request, 'authenticated')
    } catch (refusal) {
      if (!(refusal instanceof RequestError)) throw refusal
    }
    if (caller !== undefined) await count(request, reply, caller)
    answerUnmatched(request, reply)
  }

  server.addHook('onRequest', (request, reply, done) => {
    const { socket } = request
    const startedAtMs = performance.now()
    unanswered.set(socket, (unanswered.get(socket) ?? 0) + 1)
    // Comes after every answer, and also when there will be none.
    reply.raw.on('close', () => {
      unanswered.set(socket, (unanswered.get(socket) ?? 1) - 1)
      conclude(request, reply, startedAtMs)
    })
    reply.headers(commonHeaders(request))
    if (request.is404) {
      refuseUnmatched(request, reply).catch(done)
      return
    }
    try {
      const admitted = admit(request, reply)
      if (admitted === undefined) done()
      else admitted.then(() => done(), done)
    } catch (refusal) {
      done(refusal as Error)
    }
  })

  // Other bytes would be looked for as they are written, and nobody would be found.
  server.addHook('preValidation', (request, _, done) => {
    if (isQueryReadable(request)) done()
    else done(new RequestError('invalid_request', 'query string: expected UTF-8 in percent-encoding'))
  })

  server.addHook('onSend', (_, reply, payload, done) => {
    // Fastify adds a charset, which JSON does not have and not every client expects.
    if (reply.getHeader('content-type') === 'application/json; charset=utf-8')
      reply.header('content-type', 'application/json')
    if (!parts.lifecycle.isReady()) reply.header('connection', 'close')
    done(null, payload)
  })

  /** One line and one count for each request. */
  const conclude = (request: FastifyRequest, reply: FastifyReply, startedAtMs: number) => {
    const { caller, routeOptions } = request
    const route = request.is404 ? 'unmatched' : (routeOptions.url ?? 'unmatched')
    // 499 is what proxies write for a client that left before its answer.
    const status = reply.raw.writableFinished ? reply.statusCode : 499
    const elapsedMs = performance.now() - startedAtMs
    metrics.countRequest(request.method, route, status, elapsedMs / 1000)
    if (!log.isLevelEnabled('info')) return
    log.info(
      {
        request_id: request.id,
        method: request.method,
        route,
        status,
        duration_ms: Math.round(elapsedMs * 10) / 10,
        remote: request.ip,
        ...(caller && { organization: caller.organization.id, caller: caller.id }),
      },
      'request',
    )
  }
  // Reached from routes alone, which may find that there is nothing: other addresses end before it.
  server.setNotFoundHandler(answerUnmatched)

  function answerUnmatched(request: FastifyRequest, reply: FastifyReply): void {
    const methods = routes.methodsOf(pathOf(request))
    if (methods.length === 0) sendErrors(reply, 404, ['Not found'])
    else
      sendErrors(reply.header('allow', methods.join(', ')), 405, [
        `Method not allowed: this address takes ${methods.join(', ')}`,
      ])
  }

  function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
    const { config } = request.routeOptions
    const said = describeRequestError(error)
    if (said === undefined) {
      log.error(
        { request_id: request.id, error: errorLine(error, request.redact ?? undefined) },
        'internal error',
      )
      sendErrors(reply, 500, [`Internal error. The log has the details under request id ${request.id}.`])
      return
    }
    if (said.status === 503 && !(error instanceof RequestError))
      log.warn({ request_id: request.id, error: errorLine(error) }, 'the database cannot be used')
    if (said.status === 503 || said.status === 429) {
      if (!reply.hasHeader('retry-after'))
        reply.header('retry-after', reply.getHeader('x-ratelimit-reset') ?? 30)
    }
    if (config.errorForm === 'json_api' && said.status === 403) {
      sendJson(
        reply.code(403),
        JSON.stringify({ errors: [{ status: '403', title: 'Forbidden', detail: said.errors.at(-1) }] }),
      )
      return
    }
    sendErrors(reply, said.status, said.errors)
  }

  /** Answers an address that cannot be decoded. Hooks have no part in this. */
  function refuseAddress(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
    const { status, errors } = describeRequestError(error) ?? { status: 500, errors: ['Internal error'] }
    const startedAtMs = performance.now()
    reply.raw.on('close', () => conclude(request, reply, startedAtMs))
    reply
      .code(status)
      .headers({ ...commonHeaders(request), 'content-type': 'application/json' })
      // Bytes, as Fastify would add a charset to text.
      .send(Buffer.from(errorBody(errors)))
  }

  /** Answers what is no HTTP, or came too slowly, and closes the connection. */
  function refuseGarbage(error: FastifyError | NodeJS.ErrnoException, socket: Socket): void {
    const isSilent =
      error.code === 'ECONNRESET' ||
      !socket.writable ||
      // Whatever is written now would be taken for the answer to an earlier request.
      (unanswered.get(socket) ?? 0) > 0
    if (!isSilent) {
      const status = statusOfClientError(error.code)
      const phrase = phraseOf(status)
      const body = errorBody([phrase])
      socket.end(
        `HTTP/1.1 ${status} ${phrase}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
      )
      metrics.countRequest('none', 'unmatched', status, 0)
    }
    socket.destroySoon()
  }

  await describeApi(server)
  healthRoutes(server, parts)
  keyCheckRoutes(server)
  validateRoute(server, parts)
  configRoutes(server, parts)
  auditRoutes(server, parts)
  entityContextRoutes(server, parts)
  entityRoutes(server, parts)
  syncRoutes(server, parts)
  addRoutes(server)
  await server.ready()
  return server
}

const commonHeaders = ({ id }: FastifyRequest) => ({
  'x-request-id': id,
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
})

const statusOfClientError = (code: string | undefined) =>
  code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : code === 'HPE_HEADER_OVERFLOW' ? 431 : 400

/**
 * An id that came with the request is kept when it is a UUID, as proxies make them. Anything else could forge lines of
 * the log, or be a key that was put into the wrong header.
 */
function requestId(request: IncomingMessage): string {
  const given = request.headers['x-request-id']
  return typeof given === 'string' && uuid.test(given) ? given : randomUUID()
}

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

const pathOf = (request: FastifyRequest) => request.url.split('?', 1)[0] ?? ''

/** Whether what stands behind the path of an address is UTF-8 in percent-encoding. */
function isQueryReadable({ url }: FastifyRequest): boolean {
  const begin = url.indexOf('?')
  if (begin === -1 || !url.includes('%', begin)) return true
  try {
    decodeURIComponent(url.slice(begin))
    return true
  } catch {
    return false
  }
}

/**
 * Refuses to start with a route that does not say whom it serves, and remembers which methods each address takes.
 */
function demandDeclaredAccess(server: Server) {
  const methods = new Map<string, Set<string>>()
  const declared: RouteOptions[] = []
  server.addHook('onRoute', (route) => {
    declared.push(route)
    const known = methods.get(route.url) ?? new Set()
    for (const name of [route.method].flat()) known.add(name)
    methods.set(route.url, known)
  })
  server.addHook('onReady', (done) => {
    const silent = declared.find(({ config }) => config?.access === undefined)
    done(silent && new Error(`the route ${silent.method} ${silent.url} does not declare its access`))
  })
  return { methodsOf: (path: string) => [...(methods.get(path) ?? [])].sort() }
}
