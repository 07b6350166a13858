/**
 * A process that plays the providers from memory: each question is put to the sandboxes once and its answer repeated
 * from then on, over plain HTTP. It costs so little that a burst measures the server, not what stands in for providers.
 */
import http from 'node:http'
import { startSandbox } from '../sandbox/index.ts'
import { answerQuestions } from './child.ts'
import type { ProviderAddresses } from './provider-process.ts'
import { createScenarios } from './scenarios.ts'

interface Recorded {
  readonly status: number
  readonly headers: http.OutgoingHttpHeaders
  readonly body: Buffer
}

const { providers, scenarios } = await createScenarios()
const sandbox = await startSandbox({ providers, tls: false })
const recorded = new Map<string, Recorded>()
const agent = new http.Agent({ keepAlive: true })
let latencyMs = 0

const server = http.createServer((request, response) => {
  const parts: Buffer[] = []
  request.on('data', (part: Buffer) => parts.push(part))
  request.on('end', () => {
    const question = `${request.method} ${request.headers.host}${request.url}`
    const answer = ({ status, headers, body }: Recorded) =>
      setTimeout(() => {
        response.writeHead(status, headers)
        response.end(body)
      }, latencyMs)
    const known = recorded.get(question)
    if (known !== undefined) return answer(known)
    askSandbox(request, Buffer.concat(parts)).then((fresh) => {
      if (fresh.status === 200) recorded.set(question, fresh)
      answer(fresh)
    })
  })
})

function askSandbox({ method, url, headers }: http.IncomingMessage, body: Buffer): Promise<Recorded> {
  const { hostname, port } = new URL(sandbox.endpoints[headers.host ?? ''] ?? '')
  return new Promise((resolve, reject) => {
    const asked = http.request({ agent, hostname, port, method, path: url, headers }, (answer) => {
      const parts: Buffer[] = []
      answer.on('data', (part: Buffer) => parts.push(part))
      answer.on('end', () => {
        // Fields of that connection are not fields of ours.
        const { connection: _, 'keep-alive': __, 'transfer-encoding': ___, ...kept } = answer.headers
        resolve({ status: answer.statusCode ?? 0, headers: kept, body: Buffer.concat(parts) })
      })
    })
    asked.once('error', reject)
    asked.end(body)
  })
}

await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', 4_096, resolve))
const address = server.address()
const origin = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`

const answers = {
  addresses: (): ProviderAddresses => ({
    endpoints: Object.fromEntries(Object.keys(sandbox.endpoints).map((host) => [host, origin])),
    authority: '',
    authorityFile: '',
  }),
  scenarios: () => scenarios,
  /** How long every request takes from now on, in milliseconds. */
  setLatency: (ms: number) => {
    latencyMs = ms
  },
}
export type RecordedProviderAnswers = typeof answers

answerQuestions(answers, async () => {
  server.closeAllConnections()
  server.close()
  agent.destroy()
  await sandbox.close()
})
