/** Runs Google's client libraries against a sandbox, in a process of their own. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { GoogleSandbox } from '../../sandbox/google/index.ts'
import type { RunningSandbox } from '../../sandbox/index.ts'

export interface Failure {
  readonly status?: number
  readonly code?: string
  readonly message?: string
  readonly data?: { readonly error?: unknown; readonly error_description?: string }
}

export interface Given {
  readonly keyFile?: keyof GoogleSandbox['keyFiles']
  readonly subject?: string
  readonly scopes: readonly string[]
}

/** What the libraries make of these calls, each over real TLS with the sandbox's authority. */
export async function callGoogle(
  google: GoogleSandbox,
  running: RunningSandbox,
  calls: readonly string[],
  { keyFile = 'good', subject = google.admins.super, scopes }: Given,
): Promise<Record<string, { readonly ok?: unknown } & Failure>> {
  const task = {
    tokenOrigin: running.endpoints['oauth2.googleapis.com'],
    apiOrigin: running.endpoints['admin.googleapis.com'],
    keyFile: google.keyFiles[keyFile],
    subject,
    scopes,
    calls,
  }
  const script = fileURLToPath(new URL('./google-client.ts', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [script, JSON.stringify(task)], {
    env: { NODE_EXTRA_CA_CERTS: running.caFile },
    timeout: 60_000,
    maxBuffer: 16 * 1024 * 1024,
  })
  return JSON.parse(stdout)
}
