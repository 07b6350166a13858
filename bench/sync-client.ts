/** Syncs of one configuration, driven over HTTP as anybody would. */
import { setTimeout as wait } from 'node:timers/promises'
import { request } from 'undici'
import { z } from 'zod'
import type { ExampleAttributes } from '../sandbox/provider.ts'

const configsPath = '/api/v2/security_monitoring/configuration/integration_config'
const created = z.object({ data: z.object({ id: z.string() }) })
const runSchema = z.object({
  id: z.string(),
  attributes: z.looseObject({
    status: z.string(),
    mode: z.string(),
    pages: z.number(),
    seen: z.number(),
    changed: z.number(),
    removed: z.number(),
    provider_calls: z.number(),
    throttled: z.number(),
    started_at: z.string().optional(),
    ended_at: z.string().optional(),
  }),
})
const runsSchema = z.object({ data: z.array(runSchema) })
const oneRunSchema = z.object({ data: runSchema })

async function ask(
  { url, headers }: Address,
  method: 'GET' | 'POST',
  path: string,
  body?: object,
): Promise<unknown> {
  const answer = await request(`${url}${path}`, {
    method,
    headers: { ...headers, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const text = await answer.body.text()
  if (answer.statusCode !== 200)
    throw new Error(`${method} ${path} was answered ${answer.statusCode} ${text}`)
  return JSON.parse(text)
}

/** A server, and the keys to it. */
export interface Address {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

export interface EndedRun {
  readonly status: string
  readonly mode: string
  readonly ms: number
  readonly pages: number
  readonly seen: number
  readonly changed: number
  readonly removed: number
  readonly providerCalls: number
  readonly throttled: number
}

const isActive = ({ attributes: { status } }: z.infer<typeof runSchema>) =>
  status === 'queued' || status === 'running'

/** Waits for the end of the newest run. */
async function ended(address: Address, configId: string): Promise<EndedRun> {
  for (;;) {
    const [run] = runsSchema.parse(await ask(address, 'GET', `/api/v2/credence/sync/${configId}/runs`)).data
    if (run !== undefined && !isActive(run)) {
      const { started_at = '', ended_at = '', provider_calls, ...counts } = run.attributes
      return {
        status: counts.status,
        mode: counts.mode,
        ms: Date.parse(ended_at) - Date.parse(started_at),
        pages: counts.pages,
        seen: counts.seen,
        changed: counts.changed,
        removed: counts.removed,
        throttled: counts.throttled,
        providerCalls: provider_calls,
      }
    }
    await wait(100)
  }
}

/** Makes a configuration, and waits for its first run, which begins by itself. */
export async function firstSync(
  address: Address,
  attributes: ExampleAttributes,
  settings: object,
): Promise<{ readonly configId: string; readonly run: EndedRun }> {
  const made = await ask(address, 'POST', configsPath, {
    data: {
      type: 'integration_config',
      attributes: { ...attributes, name: 'bench', settings: { sync: settings } },
    },
  })
  const configId = created.parse(made).data.id
  return { configId, run: await ended(address, configId) }
}

/** Asks for a run, and waits for its end. */
export async function syncAgain(
  address: Address,
  configId: string,
  mode: 'full' | 'incremental',
): Promise<EndedRun> {
  const run = await ask(address, 'POST', `/api/v2/credence/sync/${configId}/runs`, {
    data: { type: 'sync_run', attributes: { mode } },
  })
  oneRunSchema.parse(run)
  return ended(address, configId)
}
