/** A process that plays the providers: the sandboxes, with a latency that can be set. */
import { startSandbox } from '../sandbox/index.ts'
import { answerQuestions } from './child.ts'
import { createScenarios } from './scenarios.ts'

const { providers, scenarios } = await createScenarios()
const sandbox = await startSandbox({ providers })

export interface ProviderAddresses {
  /** Provider host → loopback origin. */
  readonly endpoints: Readonly<Record<string, string>>
  /** The authority behind their certificates, as PEM and as the file that holds it. */
  readonly authority: string
  readonly authorityFile: string
}

export interface SeenRequest {
  readonly method: string
  readonly host: string
  readonly path: string
  readonly status: number
}

const answers = {
  addresses: (): ProviderAddresses => ({
    endpoints: sandbox.endpoints,
    authority: sandbox.authority ?? '',
    authorityFile: sandbox.caFile ?? '',
  }),
  scenarios: () => scenarios,
  /** How long every request takes from now on, in milliseconds. */
  setLatency: (ms: number) => sandbox.setFaults(ms === 0 ? [] : [{ kind: 'latency', ms }]),
  /** Processor time of this process so far, in milliseconds. */
  cpuMs: () => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1000
  },
  /** The requests since this was asked last, oldest first. */
  takeRequests: (): readonly SeenRequest[] => {
    const requests = sandbox
      .requests()
      .map(({ method, host, path, status }) => ({ method, host, path, status }))
    sandbox.forgetRequests()
    return requests
  },
}
export type ProviderAnswers = typeof answers

answerQuestions(answers, () => sandbox.close())
