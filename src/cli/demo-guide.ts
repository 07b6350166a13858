/** What the demo tells a person: validations and a configuration made on the spot, and a command for each example. */
import { Client } from 'undici'
import type { ExampleAttributes } from '../../sandbox/provider.ts'
import { createSources } from '../sources/registry.ts'
import type { Report } from '../validation/report.ts'
import { headersOf, type LivingDemo, lifeCommands, liveThrough } from './demo-life.ts'
import { reportText } from './report-text.ts'
import { fold, printable, type Style, write } from './terminal.ts'

interface ShownDemo extends LivingDemo {
  /** The file of `curlConfigOf`. */
  readonly curlConfig: string
  readonly vaultKeyFile: string
}

const validatePath = '/api/v2/security_monitoring/configuration/integration_config/validate'

/** The request of the API's published documentation, word for word. */
const documented: ExampleAttributes = {
  domain: 'siem-test.com',
  integration_type: 'GOOGLE_WORKSPACE',
  secrets: { admin_email: 'test@example.com' },
}

export async function showDemo(demo: ShownDemo, style: Style): Promise<void> {
  const say = (...lines: readonly string[]) => write(process.stdout, `${lines.join('\n')}\n`)
  const heading = (text: string) => style.paint('bold', text)
  const paragraph = (text: string) => fold(text, style.width, '')

  await say(
    `Credence listens on ${heading(demo.url)}. Behind it are stand-ins of Google Workspace, Okta and Microsoft Entra ID.`,
    '',
    heading('Two validations, made just now over HTTP'),
  )
  const shown =
    demo.examples.find(({ title }) => title.includes(shownFailure)) ??
    demo.examples.find(({ isValid }) => !isValid)
  for (const attributes of [documented, ...(shown === undefined ? [] : [shown.attributes])]) {
    const { status, report } = await validate(demo, attributes)
    await say(
      '',
      ...(report === undefined ? [] : [reportText(report, titleOf(attributes), style)]),
      `The server answered ${status}.`,
    )
  }

  const { life, history } = await liveThrough(demo, style)
  await say('', heading('The life of a configuration'), '', ...life)
  if (history.length > 0) await say('', heading('Five days of a person, passed at once'), '', ...history)

  const headers = Object.entries(headersOf(demo)).map(([name, value]) => `  -H '${name}: ${value}' \\`)
  await say(
    '',
    heading('Try it, in another terminal'),
    '',
    '# The example of the API documentation: 200',
    `curl -i ${demo.url}${validatePath} \\`,
    ...headers,
    "  -d @- <<'EOF'",
    bodyOf(documented),
    'EOF',
    '',
    ...paragraph(
      `# For the others, ${printable(demo.curlConfig)} holds address and keys, and each file a request body.`,
    ),
    ...demo.examples.flatMap((example) => [
      `# ${titleOf(example.attributes)}${example.isValid ? ', valid: 200' : `: ${printable(example.title)}: 400`}`,
      `curl -K ${quoted(demo.curlConfig)} -d @${quoted(example.path)}`,
    ]),
    '',
    ...(await lifeCommands(demo, quoted)),
    '',
    ...paragraph(
      "With '?include=report' at the end of the address the answer holds every check; with -H 'accept: text/event-stream' each is sent as it ends.",
    ),
    ...paragraph(
      `The vault key that seals stored secrets was made for this demo; it is in ${printable(demo.vaultKeyFile)}, which its owner alone may read.`,
    ),
    ...paragraph(
      `Keys, examples and database are kept in ${printable(demo.dataDir)} and stay the same next time. Running until Ctrl-C.`,
    ),
  )
}

/** Of all failures this one shows best that the rest is found out nevertheless. */
const shownFailure = 'okta.groups.read'

function titleOf({ integration_type }: ExampleAttributes): string {
  const source = createSources().find(({ integrationType }) => integrationType === integration_type)
  return source?.title ?? integration_type
}

const bodyOf = (attributes: ExampleAttributes) =>
  JSON.stringify({ data: { attributes, type: 'integration_config' } }, null, 2)

/**
 * What `curl -K` reads: the address and headers of every example.
 *
 * @see https://curl.se/docs/manpage.html#-K
 */
export function curlConfigOf(demo: Pick<ShownDemo, 'url' | 'keys'>): string {
  const lines = Object.entries(headersOf(demo)).map(([name, value]) => `header = "${name}: ${value}"`)
  return `${[`url = "${demo.url}${validatePath}"`, 'include', ...lines].join('\n')}\n`
}

/** A path as a shell takes it. */
const quoted = (path: string) =>
  /^[\w./-]+$/.test(path) ? path : `'${printable(path).replaceAll("'", `'\\''`)}'`

async function validate(
  demo: ShownDemo,
  attributes: ExampleAttributes,
): Promise<{ readonly status: number; readonly report?: Report }> {
  const client = new Client(demo.url)
  try {
    const answer = await client.request({
      method: 'POST',
      path: `${validatePath}?include=report`,
      headers: headersOf(demo),
      body: bodyOf(attributes),
    })
    const document = (await answer.body.json()) as Report | { readonly meta?: { readonly report?: Report } }
    const report = 'verdict' in document ? document : document.meta?.report
    return { status: answer.statusCode, ...(report && { report }) }
  } finally {
    await client.close()
  }
}
