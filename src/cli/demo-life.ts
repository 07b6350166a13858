/** What the demo shows of configurations: the whole life of one, made on the spot, and commands to go on with. */
import { join } from 'node:path'
import { Client } from 'undici'
import { z } from 'zod'
import type { LivingDirectory } from '../../sandbox/living-directory.ts'
import type { ExampleAttributes } from '../../sandbox/provider.ts'
import { errorsIn } from './api-client.ts'
import { configListSchema, oneConfigSchema, titleOf } from './config-text.ts'
import { type DemoKeys, type ExampleFile, writePrivately } from './demo-folder.ts'
import { type DemoClock, liveThroughDays } from './demo-history.ts'
import { fold, printable, type Style } from './terminal.ts'

export interface LivingDemo {
  readonly url: string
  readonly clock: DemoClock
  /** The people and groups behind the example that `livedBy` chooses. */
  readonly directory: LivingDirectory
  readonly keys: DemoKeys
  readonly examples: readonly ExampleFile[]
  readonly dataDir: string
}

const configsPath = '/api/v2/security_monitoring/configuration/integration_config'

/** Settings of the configuration that is made and deleted again: one that a killed demo left behind is known by it. */
const markOfDemo = { demo: true }
const isLeftOver = z.object({ demo: z.literal(true) })

export const headersOf = ({ keys }: Pick<LivingDemo, 'keys'>) => ({
  'content-type': 'application/json',
  'dd-api-key': keys.api_key,
  'dd-application-key': keys.application_key,
})

/** A valid example whose one secret is a file of its own for the command line. */
const livedBy = ({ examples }: LivingDemo) =>
  examples.find(({ source, isValid }) => source === 'okta' && isValid)?.attributes

/** Lines that tell what was asked and answered, from creation to deletion, and then over some days of a person. */
export async function liveThrough(
  demo: LivingDemo,
  style: Style,
): Promise<{ readonly life: readonly string[]; readonly history: readonly string[] }> {
  const attributes = livedBy(demo)
  if (attributes === undefined) return { life: [], history: [] }
  const client = new Client(demo.url)
  const ask: Ask = async (method, path, body) => {
    const answer = await client.request({
      method,
      path,
      headers: headersOf(demo),
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await answer.body.text()
    return { status: answer.statusCode, document: text === '' ? undefined : JSON.parse(text) }
  }
  const askConfigs: Ask = (method, path, body) => ask(method, `${configsPath}${path}`, body)
  try {
    for (const one of await ofType(attributes, askConfigs))
      if (isLeftOver.safeParse(one.attributes.settings).success) await askConfigs('DELETE', `/${one.id}`)
    const others = await ofType(attributes, askConfigs)
    // They would be switched off and on with it.
    if (others.length > 0) {
      return {
        life: [
          `You keep ${others.length === 1 ? 'a configuration' : `${others.length} configurations`} of ${titleOf(attributes.integration_type)} here, which ${others.length === 1 ? 'is' : 'are'} left alone: credence configs list shows what there is.`,
        ],
        history: [],
      }
    }
    return {
      life: await live(attributes, style, askConfigs),
      history: await liveThroughDays({ ...demo, attributes, settings: markOfDemo, ask }, style),
    }
  } finally {
    await client.close()
  }
}

type Ask = (
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: object,
) => Promise<{ readonly status: number; readonly document: unknown }>

async function live(attributes: ExampleAttributes, style: Style, ask: Ask): Promise<string[]> {
  const type = attributes.integration_type.toLowerCase()
  const title = titleOf(attributes.integration_type)
  const lines: string[] = []
  const show = async (method: Parameters<Ask>[0], path: string, what: string, body?: object) => {
    const answer = await ask(method, path, body)
    const isDone = answer.status < 300
    const told = isDone ? what : errorsIn(answer).join(' ')
    lines.push(
      ...fold(
        `${style.paint(isDone ? 'green' : 'red', String(answer.status))} ${method} …/integration_config${path.replace(/[0-9a-f-]{36}/, 'ID')}: ${told}`,
        style.width,
        '',
      ),
    )
    return answer.document
  }

  const made = oneConfigSchema.safeParse(
    await show('POST', '', `${title} ${attributes.domain} is made: its credentials are proved, then sealed`, {
      data: {
        type: 'integration_config',
        attributes: { ...attributes, name: 'Life of a configuration', settings: markOfDemo },
      },
    }),
  )
  if (!made.success) return lines
  const { id } = made.data.data
  try {
    await show('GET', `/${id}`, 'it is read; secrets are in no answer')
    await show('POST', `/${type}/deactivate`, 'its sync is switched off')
    await show('POST', `/${type}/activate`, 'and on again, however often that is asked')
    await show(
      'POST',
      `/${id}/validate`,
      'the sealed credentials are proved again, as happens every few hours',
    )
  } finally {
    await show('DELETE', `/${id}`, 'it is deleted, and the key of its secrets with it')
  }
  return lines
}

async function ofType({ integration_type }: ExampleAttributes, ask: Ask) {
  const { document } = await ask('GET', `?filter%5Bintegration_type%5D=${integration_type}`)
  return configListSchema.safeParse(document).data?.data ?? []
}

/** Writes what the commands read, and returns the commands. */
export async function lifeCommands(demo: LivingDemo, quoted: (path: string) => string): Promise<string[]> {
  const { url, keys, dataDir } = demo
  const attributes = livedBy(demo)
  const token = attributes?.secrets?.api_token
  if (attributes === undefined || typeof token !== 'string') return []
  const file = async (name: string, content: unknown) => {
    const path = join(dataDir, name)
    await writePrivately(path, content)
    return quoted(path)
  }
  const profiles = await file('profiles.json', {
    default: { url, api_key: keys.api_key, application_key: keys.application_key },
  })
  const secret = await file('okta-api-token.txt', `${token}\n`)
  const body = await file('configuration.json', {
    data: { type: 'integration_config', attributes: { ...attributes, name: 'Acme' } },
  })
  const curl = await file(
    'configurations.conf',
    [
      `url = "${url}${configsPath}"`,
      'include',
      ...Object.entries(headersOf(demo)).map(([name, value]) => `header = "${name}: ${value}"`),
      '',
    ].join('\n'),
  )
  return [
    '# Keep a configuration (in a checkout, credence is npm run credence --)',
    `export CREDENCE_PROFILE_FILE=${profiles}`,
    `credence configs create okta --domain ${printable(attributes.domain)} --name Acme --api-token-file ${secret}`,
    'credence configs list',
    'credence configs get ID',
    "credence configs update ID --name 'Acme, production' --require devices",
    'credence configs validate ID',
    '# Synchronise it, and ask who somebody is',
    'credence sync run --config ID --full --watch',
    'credence sync status --config ID',
    `credence lookup ${printable(demo.directory.person(1).email)}`,
    '# Switch it off and on, and delete it',
    'credence configs deactivate okta',
    'credence configs activate okta',
    'credence configs delete ID',
    '# The same with curl: make one, list them, delete one',
    `curl -K ${curl} -d @${body}`,
    `curl -K ${curl}`,
    `curl -X DELETE -H 'dd-api-key: ${keys.api_key}' -H 'dd-application-key: ${keys.application_key}' ${url}${configsPath}/ID`,
  ]
}
