/** Settings of a configuration on the command line: a whole file, or the two members that mean something to Credence. */
import type { Command } from 'commander'
import { JsonRefused, parseBoundedJson } from '../outbound/bounded-json.ts'
import { UsageError } from './exit-codes.ts'
import { readSecretFile } from './secret-input.ts'

export interface SettingsOptions {
  readonly settingsFile?: string
  readonly instance?: string
  readonly require?: readonly string[]
}

export type Settings = Readonly<Record<string, unknown>>

export const addSettingsOptions = (command: Command): Command =>
  command
    .option('--settings-file <file>', 'a JSON object of settings, none of them secret')
    .option('--instance <name>', 'tells several configurations of one domain apart (settings.instance)')
    .option(
      '--require <list>',
      'what a sync of this configuration needs besides, such as roles,devices; an empty list takes it back (settings.require)',
      (text: string) =>
        text
          .split(',')
          .map((name) => name.trim())
          .filter((name) => name !== ''),
    )

/**
 * The settings of the options upon those in the file; undefined when there are neither.
 *
 * @param before settings that are changed where no file takes their place
 * @throws UsageError
 */
export async function readSettings(
  { settingsFile, instance, require }: SettingsOptions,
  before: () => Promise<Settings> = async () => ({}),
): Promise<Settings | undefined> {
  if (settingsFile === undefined && instance === undefined && require === undefined) return undefined
  const base = settingsFile === undefined ? await before() : await readSettingsFile(settingsFile)
  return {
    ...base,
    ...(instance !== undefined && { instance }),
    ...(require !== undefined && { require }),
  }
}

async function readSettingsFile(file: string): Promise<Settings> {
  const expected = new UsageError('--settings-file: expected a file that holds one JSON object')
  try {
    const settings = parseBoundedJson(await readSecretFile(file, '--settings-file'))
    if (typeof settings !== 'object' || settings === null || Array.isArray(settings)) throw expected
    return settings as Settings
  } catch (error) {
    throw error instanceof JsonRefused ? expected : error
  }
}
