/** A process that plays one provider with a large organisation, over plain HTTP. */
import { createEntraSandbox, type EntraSandbox } from '../sandbox/entra/index.ts'
import { createGoogleSandbox } from '../sandbox/google/index.ts'
import { type RunningSandbox, startSandbox } from '../sandbox/index.ts'
import type { LivingDirectory } from '../sandbox/living-directory.ts'
import { createOktaSandbox } from '../sandbox/okta/index.ts'
import type { ExampleAttributes, ProviderSandbox } from '../sandbox/provider.ts'
import { answerQuestions } from './child.ts'

export interface LargeOrganisation {
  readonly provider: ProviderSandbox['name']
  readonly users: number
  readonly groups: number
  readonly devices?: number
  /** Okta's limit for each kind of request; so many by default that nothing is refused. */
  readonly requestsPerMinute?: number
}

export interface LargeProvider {
  readonly endpoints: Readonly<Record<string, string>>
  readonly authority: string
  readonly authorityFile: string
  readonly attributes: ExampleAttributes
  readonly memberships: number
}

let stop = async () => {}
let directory: LivingDirectory | undefined
let requests: RunningSandbox['requests'] = () => []

const makers = { google: createGoogleSandbox, okta: createOktaSandbox, entra: createEntraSandbox }

/** Entra ID's reports may be asked for 5 times in 10 seconds, which would be what is measured: its app may not. */
const attributesOf = (played: ProviderSandbox | EntraSandbox): ExampleAttributes =>
  'apps' in played
    ? { ...played.examples().valid, secrets: { ...played.apps.usual } }
    : played.examples().valid

const answers = {
  async play({ provider, ...size }: LargeOrganisation): Promise<LargeProvider> {
    const played = await makers[provider]({ ...size, seed: 'bench', largestGroup: 0.64 })
    directory = played.directory
    const sandbox = await startSandbox({ providers: [played], tls: provider !== 'okta' })
    stop = sandbox.close
    requests = sandbox.requests
    let memberships = 0
    for (let group = 0; group < size.groups; group++) memberships += played.directory.group(group).memberCount
    return {
      endpoints: sandbox.endpoints,
      authority: sandbox.authority ?? '',
      authorityFile: sandbox.caFile ?? '',
      attributes: attributesOf(played),
      memberships,
    }
  },
  /** Gives every `nth` person another title. How many that were. */
  promote(nth: number): number {
    if (directory === undefined) throw new Error('nothing is played yet')
    let promoted = 0
    for (let person = 1; person < directory.userCount; person += nth) {
      directory.change({ what: 'edit', person, edit: { title: `Principal ${promoted}` } })
      promoted += 1
    }
    return promoted
  },
  /** Of requests to this path, for each minute of the clock in which there were any. */
  requestsByMinute(path: string): readonly number[] {
    const asked = requests().filter((seen) => seen.path === path)
    return [...Map.groupBy(asked, ({ at }) => Math.floor(at.getTime() / 60_000)).values()].map(
      (all) => all.length,
    )
  },
  cpuMs: () => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1000
  },
}
export type LargeProviderAnswers = typeof answers

answerQuestions(answers, () => stop())
