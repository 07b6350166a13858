/** The control interface: switches faults, has things happen in the directories, and shows what the sandboxes were asked. Only for programs on this machine. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { z } from 'zod'
import { changesBody, describeHappening } from './changes.ts'
import { type FaultBoard, faultSchema } from './faults.ts'
import type { ProviderSandbox } from './provider.ts'
import type { RequestLog } from './request-log.ts'

const maxBodyBytes = 256 * 1024

const faultsBody = z.strictObject({ faults: z.array(faultSchema).max(100) })

interface Reply {
  readonly status: number
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

const refuse = (status: number, ...errors: string[]): Reply => ({ status, body: { errors } })

export function createControlServer(
  faults: FaultBoard,
  log: RequestLog,
  providers: readonly ProviderSandbox[] = [],
): Server {
  const directories = providers.flatMap(({ name, directory }) =>
    directory === undefined ? [] : [{ name, directory }],
  )
  const routes: Readonly<
    Record<string, Readonly<Record<string, (request: IncomingMessage) => Reply | Promise<Reply>>>>
  > = {
    '/_sandbox/faults': {
      GET: () => ({ status: 200, body: { faults: faults.list() } }),
      POST: async (request) => {
        const read = await readBody(request, faultsBody)
        if ('status' in read) return read
        faults.set(read.faults)
        return { status: 200, body: { faults: faults.list() } }
      },
      DELETE: () => {
        faults.set([])
        return { status: 204 }
      },
    },
    '/_sandbox/changes': {
      GET: () => ({
        status: 200,
        body: {
          changes: Object.fromEntries(
            directories.map(({ name, directory }) => [
              name,
              directory.changesSince(0).map((happening) => describeHappening(directory, happening)),
            ]),
          ),
        },
      }),
      POST: async (request) => {
        const read = await readBody(request, changesBody)
        if ('status' in read) return read
        const chosen = directories.filter(({ name }) => read.provider === undefined || name === read.provider)
        if (chosen.length === 0) return refuse(400, 'provider: no directory of that name is served')
        try {
          const happened = chosen.map(({ name, directory }) => [
            name,
            read.changes.map((change) =>
              describeHappening(directory, directory.change(change, read.at ?? new Date())),
            ),
          ])
          return { status: 200, body: { changes: Object.fromEntries(happened) } }
        } catch (error) {
          // What came before it has happened.
          if (error instanceof RangeError) return refuse(400, `changes: ${error.message}`)
          throw error
        }
      },
    },
    '/_sandbox/requests': {
      GET: () => ({ status: 200, body: { requests: log.list() } }),
      DELETE: () => {
        log.forget()
        return { status: 204 }
      },
    },
  }
  const answer = (request: IncomingMessage): Reply | Promise<Reply> => {
    if (!isFromThisMachinesPrograms(request)) return refuse(403, 'Web pages may not drive the sandbox.')
    const path = (request.url ?? '').split('?')[0] ?? ''
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined
    if (route === undefined) return refuse(404, `There are ${Object.keys(routes).join(' and ')}.`)
    const method = request.method ?? ''
    const handler = Object.hasOwn(route, method) ? route[method] : undefined
    if (handler !== undefined) return handler(request)
    const allow = Object.keys(route).join(', ')
    return { ...refuse(405, `${path} knows ${allow}.`), headers: { allow } }
  }
  return createServer(async (request, response) => {
    try {
      write(response, await answer(request))
    } catch (error) {
      // Only a client that went away in the middle of its body gets here.
      response.destroy(error instanceof Error ? error : undefined)
    }
  })
}

/**
 * A page in a browser could reach loopback too, with a name of its own that resolves to it. Browsers tell: by the
 * Host that the page used, by Origin, and by Sec-Fetch-Site (`none` is a person typing the address).
 */
function isFromThisMachinesPrograms(request: IncomingMessage): boolean {
  const { host, origin } = request.headers
  const site = request.headers['sec-fetch-site']
  const ownHosts = [`127.0.0.1:${request.socket.localPort}`, `localhost:${request.socket.localPort}`]
  return (
    host !== undefined &&
    ownHosts.includes(host.toLowerCase()) &&
    origin === undefined &&
    (site === undefined || site === 'none')
  )
}

async function readBody<T extends z.ZodType<object>>(
  request: IncomingMessage,
  schema: T,
): Promise<z.infer<T> | Reply> {
  const type = request.headers['content-type']?.split(';')[0]?.trim().toLowerCase()
  if (type !== 'application/json') return refuse(415, 'The content type must be application/json.')
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > maxBodyBytes)
      return {
        ...refuse(413, `The body is larger than ${maxBodyBytes} bytes.`),
        headers: { connection: 'close' },
      }
    chunks.push(chunk)
  }
  let document: unknown
  try {
    document = JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch {
    return refuse(400, 'The body is not JSON.')
  }
  const parsed = schema.safeParse(document)
  if (parsed.success) return parsed.data
  return refuse(
    400,
    ...parsed.error.issues.map((issue) => `${issue.path.join('.') || 'body'}: ${issue.message}`),
  )
}

function write(response: ServerResponse, reply: Reply): void {
  response.writeHead(reply.status, {
    ...(reply.body !== undefined && { 'content-type': 'application/json' }),
    'cache-control': 'no-store',
    ...reply.headers,
  })
  response.end(reply.body === undefined ? undefined : `${JSON.stringify(reply.body)}\n`)
}
