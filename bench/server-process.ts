/** A process that runs the server under load, and tells how its event loop and its heap fare. Needs --expose-gc for the heap. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createOutbound } from '../src/outbound/outbound.ts'
import { type RunningService, startService } from '../src/service.ts'
import { createKey } from '../src/store/keys.ts'
import { answerQuestions } from './child.ts'
import type { ProviderAddresses } from './provider-process.ts'
import { unhindered } from './server-setup.ts'

export interface ServerAddress {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

const dataDir = await mkdtemp(join(tmpdir(), 'credence-bench-'))
const delay = monitorEventLoopDelay({ resolution: 1 })
let service: RunningService | undefined

const answers = {
  /** Starts the server; `addresses` are those of the providers it may talk to. */
  async start(addresses: ProviderAddresses): Promise<ServerAddress> {
    const endpoints = new Map(
      Object.entries(addresses.endpoints).map(([host, origin]) => [host, new URL(origin)]),
    )
    service = await startService({
      dataDir,
      config: {
        ...unhindered(),
        endpoints,
      },
      outbound: createOutbound({ endpoints, endpointAuthorities: [addresses.authority] }),
    })
    const keys = await createKey({ database: service.database, permissions: ['integrations_read'] })
    return {
      url: service.url,
      headers: { 'dd-api-key': keys.api_key, 'dd-application-key': keys.application_key },
    }
  },
  watchEventLoop() {
    delay.reset()
    delay.enable()
  },
  /** Since `watchEventLoop`, in milliseconds. The 1 ms between two samples is not a delay. */
  eventLoopDelay() {
    delay.disable()
    return {
      p50: delay.percentile(50) / 1e6 - 1,
      p99: delay.percentile(99) / 1e6 - 1,
      max: delay.max / 1e6 - 1,
    }
  },
  /** Processor time of this process so far, in milliseconds. */
  cpuMs() {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1000
  },
  /** Bytes of the heap that are in use after all garbage was collected. */
  async heapUsed() {
    if (globalThis.gc === undefined) throw new Error('started without --expose-gc')
    for (let round = 0; round < 4; round++) {
      await globalThis.gc({ type: 'major', execution: 'async' })
      await nextTurn()
    }
    return process.memoryUsage().heapUsed
  },
}
export type ServerAnswers = typeof answers

answerQuestions(answers, async () => {
  await service?.close()
  await rm(dataDir, { recursive: true, force: true })
})
