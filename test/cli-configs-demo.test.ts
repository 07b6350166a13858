/** What the demo shows of configurations to a person, and whether the commands that it prints work. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { runCommand, startCommand } from './running-command.ts'

test('the demo lives through a configuration, prints commands that work, and leaves yours alone', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'credence-life-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const start = () => startCommand(t, ['demo', '--port', '0', '--data-dir', folder])

  const first = start()
  const text = await first.textUntil(/Running until Ctrl-C/)
  assert.deepEqual(
    [...text.matchAll(/^(\d{3}) ([A-Z]+) …\/integration_config(\S*): /gm)].map((line) => line.slice(1)),
    [
      ['200', 'POST', ''],
      ['200', 'GET', '/ID'],
      ['200', 'POST', '/okta/deactivate'],
      ['200', 'POST', '/okta/activate'],
      ['200', 'POST', '/ID/validate'],
      ['204', 'DELETE', '/ID'],
    ],
  )

  const [, profiles = ''] = /^export CREDENCE_PROFILE_FILE=(\S+)$/m.exec(text) ?? []
  assert.equal(statSync(profiles).mode & 0o777, 0o600)
  const environment = { CREDENCE_PROFILE_FILE: profiles }
  const commands = [...text.matchAll(/^credence (configs .+)$/gm)].map(([, line = '']) => line)
  assert.equal(commands.length, 8)
  let id = ''
  for (const line of commands) {
    const args = (line.match(/'[^']*'|\S+/g) ?? []).map((arg) => arg.replaceAll("'", ''))
    const { code, stdout, stderr } = await runCommand(
      t,
      args.map((arg) => (arg === 'ID' ? id : arg)),
      environment,
    )
    assert.equal(code, 0, `${line}\n${stderr}`)
    id = /^ {2}id +(\S+)$/m.exec(stdout)?.[1] ?? id
  }

  const curl = [...text.matchAll(/^curl -K (\S+configurations\.conf)(?: -d @(\S+))?$/gm)]
  assert.equal(curl.length, 2)
  for (const [, configFile = '', bodyFile] of curl) {
    const { status, text: answer } = await asCurlWould(configFile, bodyFile)
    assert.equal(status, 200, answer)
    assert.match(answer, /"name":"Acme"/)
  }
  assert.equal((await first.stop('SIGINT')).code, 0)

  const second = start()
  const again = await second.textUntil(/Running until Ctrl-C/)
  assert.match(again, /You keep a configuration of Okta here, which is left alone/)
  assert.equal((await second.stop('SIGINT')).code, 0)
})

/** Not every machine has curl. */
async function asCurlWould(configFile: string, bodyFile: string | undefined) {
  assert.equal(statSync(configFile).mode & 0o777, 0o600)
  const config = readFileSync(configFile, 'utf8')
  const response = await fetch(/^url = "(.+)"$/m.exec(config)?.[1] ?? '', {
    headers: [...config.matchAll(/^header = "([^:]+): (.+)"$/gm)].map(
      ([, name = '', value = '']): [string, string] => [name, value],
    ),
    ...(bodyFile !== undefined && { method: 'POST', body: readFileSync(bodyFile) }),
  })
  return { status: response.status, text: await response.text() }
}
