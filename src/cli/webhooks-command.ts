/** `credence webhooks`: whom organisations have told what happens to their configurations, and what became of it. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { type EventType, eventTypes, isEventType } from '../store/webhook-events.ts'
import { dataDirOption } from './data-dir.ts'

const defaultLimit = 50

/** What the commands do: slow to load, and needed by no other. */
const actions = () => import('./webhooks.ts')

export function addWebhooksCommand(program: Command): void {
  const webhooks = program
    .command('webhooks')
    .description('tell other systems what happens to configurations, in the form of standardwebhooks.com')

  webhooks
    .command('add')
    .description('make a webhook; its signing secret is shown this once')
    .argument('<url>', 'https address of the receiver, on the public internet')
    .option('--organization <name>', 'whose configurations it is told about, by name or id', 'default')
    .addOption(
      new Option('--events <list>', `separated by commas: ${eventTypes.join(', ')}`)
        .argParser(eventList)
        .default(eventTypes, 'all'),
    )
    .addOption(dataDirOption())
    .option('--json', 'print one JSON object')
    .action(async (url, options) => (await actions()).add(url, options))

  webhooks
    .command('list')
    .description('list webhooks; never their secrets')
    .option('--organization <name>', 'of this organisation alone, by name or id')
    .addOption(dataDirOption())
    .option('--json', 'print one JSON document')
    .action(async (options) => (await actions()).list(options))

  webhooks
    .command('remove')
    .description('remove a webhook with what waits for it, and destroy its secret')
    .argument('<id>', 'as in webhooks list')
    .addOption(dataDirOption())
    .option('--json', 'print one JSON object')
    .action(async (id, options) => (await actions()).remove(id, options))

  webhooks
    .command('test')
    .description('send a webhook.test message to a webhook now, and tell what came of it')
    .argument('<id>', 'as in webhooks list')
    .addOption(dataDirOption())
    .option('--json', 'print one JSON object')
    .action(async (id, options) => (await actions()).tryOut(id, options))

  webhooks
    .command('deliveries')
    .description('list what was told, or is still to be told, the newest first')
    .option('--webhook <id>', 'to this webhook alone')
    .option('--dead', 'only what was given up')
    .addOption(new Option('--limit <number>', 'list at most so many').argParser(count).default(defaultLimit))
    .addOption(dataDirOption())
    .option('--json', 'print one JSON document')
    .action(async (options) => (await actions()).deliveries(options))

  webhooks
    .command('enable')
    .description('tell a webhook again what happens from now on, after it was disabled')
    .argument('<id>', 'as in webhooks list')
    .addOption(dataDirOption())
    .option('--json', 'print one JSON object')
    .action(async (id, options) => (await actions()).enable(id, options))

  webhooks
    .command('redeliver')
    .description('enable a webhook again and have all that was given up for it tried anew')
    .argument('<id>', 'as in webhooks list')
    .addOption(dataDirOption())
    .option('--json', 'print one JSON object')
    .action(async (id, options) => (await actions()).tryAnew(id, options))
}

function eventList(text: string): EventType[] {
  const names = text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
  if (names.length === 0 || !names.every(isEventType))
    throw new InvalidArgumentError(`There are ${eventTypes.join(', ')}.`)
  return [...new Set(names)]
}

function count(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new InvalidArgumentError('It is a whole number from 1 to 99999.')
  return Number(text)
}
