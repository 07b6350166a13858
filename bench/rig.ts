/** What most benchmarks stand on: providers in one process, the server in another, and requests to them. */
import { Agent, request } from 'undici'
import type { ExampleAttributes } from '../sandbox/provider.ts'
import { type Child, serverOptions, startChild } from './child.ts'
import type { ProviderAddresses, ProviderAnswers } from './provider-process.ts'
import type { Scenario } from './scenarios.ts'
import type { ServerAddress, ServerAnswers } from './server-process.ts'

export const validatePath = '/api/v2/security_monitoring/configuration/integration_config/validate'

/** What whoever plays the providers answers. */
type Providing = Pick<ProviderAnswers, 'addresses' | 'scenarios' | 'setLatency'>

export interface Rig<P extends Providing = ProviderAnswers> {
  readonly providers: Child<P>
  readonly addresses: ProviderAddresses
  readonly server: Child<ServerAnswers>
  readonly address: ServerAddress
  readonly scenarios: readonly Scenario[]
  /** Sends one validation; its wall time in milliseconds, whatever the answer, and why it was not 200. */
  attempt(attributes: ExampleAttributes): Promise<{ readonly ms: number; readonly failure?: string }>
  /** The same where any other answer than 200 spoils the measurement. @throws when it was another */
  validate(attributes: ExampleAttributes): Promise<number>
  stop(): Promise<void>
}

/** @param player the module that plays the providers; the sandboxes, over TLS, by default */
export async function startRig<P extends Providing = ProviderAnswers>(
  player = 'provider-process.ts',
): Promise<Rig<P>> {
  const playing = startChild<P>(player)
  // What both players answer; the rest is for the benchmark that chose the player.
  const providers: Child<Providing> = playing as Child<ProviderAnswers>
  const server = startChild<ServerAnswers>('server-process.ts', {
    nodeOptions: [...serverOptions, '--expose-gc'],
  })
  const stop = async () => {
    await Promise.all([server.stop(), providers.stop()])
  }
  try {
    const addresses = await providers.ask('addresses')
    const address = await server.ask('start', addresses)
    const agent = new Agent({ connections: 256 })
    const attempt: Rig['attempt'] = async (attributes) => {
      const started = performance.now()
      const answer = await request(address.url + validatePath, {
        dispatcher: agent,
        method: 'POST',
        headers: { ...address.headers, 'content-type': 'application/json' },
        body: JSON.stringify({ data: { type: 'integration_config', attributes } }),
      })
      const text = await answer.body.text()
      const ms = performance.now() - started
      return answer.statusCode === 200
        ? { ms }
        : { ms, failure: `${answer.statusCode} ${text.slice(0, 300)}` }
    }
    return {
      providers: playing,
      addresses,
      server,
      address,
      scenarios: await providers.ask('scenarios'),
      attempt,
      async validate(attributes) {
        const { ms, failure } = await attempt(attributes)
        if (failure !== undefined) throw new Error(`a validation was answered ${failure}`)
        return ms
      },
      async stop() {
        await agent.close()
        await stop()
      },
    }
  } catch (error) {
    await stop()
    throw error
  }
}
