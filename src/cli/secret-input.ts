/** Reads secrets from where other users of the machine cannot see them: files, standard input, a silent prompt. */
import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import { UsageError } from './exit-codes.ts'

/** No key, token or certificate chain that a source takes is larger, in bytes. */
export const maxSecretBytes = 64 * 1024

/** The text of `file`. What goes wrong names the option alone: somebody may have put the secret where its file belongs. */
export async function readSecretFile(file: string, option: string): Promise<string> {
  // One byte more than allowed is enough to know; also holds for pipes, which have no size to ask for.
  const stream = createReadStream(file, { end: maxSecretBytes })
  try {
    return secretText(await readBytes(stream), option, 'the file')
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') throw error
    throw new UsageError(`${option}: the file ${reasonFor(error.code)}`)
  }
}

function reasonFor(code: string): string {
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'does not exist'
    case 'EACCES':
    case 'EPERM':
      return 'may not be read by this user'
    case 'EISDIR':
      return 'is a folder, not a file'
    default:
      return `cannot be read (${code})`
  }
}

/** The text of standard input up to its end. On a terminal it is asked for on `prompt`, without echo. */
export async function readSecretInput(
  input: NodeJS.ReadStream,
  prompt: NodeJS.WriteStream,
  option: string,
  { multiline, signal }: { readonly multiline: boolean; readonly signal?: AbortSignal },
): Promise<string> {
  if (input.isTTY) {
    return secretText(Buffer.from(await promptSecret(input, prompt, option, multiline)), option, 'the input')
  }
  try {
    return secretText(await readBytes(input, signal), option, 'standard input')
  } finally {
    // An input that never ends would hold the process.
    input.destroy()
  }
}

/** @throws the signal's reason when it aborts first */
async function readBytes(stream: Readable, signal?: AbortSignal): Promise<Buffer> {
  const stop = () => stream.destroy(signal?.reason)
  if (signal?.aborted) throw signal.reason
  signal?.addEventListener('abort', stop, { once: true })
  try {
    const chunks: Buffer[] = []
    let size = 0
    for await (const chunk of stream) {
      chunks.push(chunk)
      size += chunk.length
      if (size > maxSecretBytes) break
    }
    return Buffer.concat(chunks)
  } finally {
    signal?.removeEventListener('abort', stop)
  }
}

/** What a file, an input or a variable holds: text without a byte order mark and without the newline that editors add. */
export function secretText(bytes: Uint8Array, option: string, what: string): string {
  if (bytes.length > maxSecretBytes) {
    throw new UsageError(
      `${option}: ${what} is larger than ${maxSecretBytes / 1024} KiB, which no credential is`,
    )
  }
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw notText(option, what)
  }
  if (text.includes('\0')) throw notText(option, what)
  const secret = text.replace(/[\r\n]+$/, '')
  if (secret.trim() === '') throw new UsageError(`${option}: ${what} is empty`)
  return secret
}

const notText = (option: string, what: string) =>
  new UsageError(`${option}: ${what} is not UTF-8 text; a key or certificate has to be in PEM (or JSON) form`)

const interrupt = '\x03'
const endOfInput = '\x04'
const erase = new Set(['\x7f', '\b'])
const newline = /[\r\n]/

/** Asks on `prompt` and reads from the terminal without showing what is typed or pasted. */
function promptSecret(
  input: NodeJS.ReadStream,
  prompt: NodeJS.WriteStream,
  option: string,
  multiline: boolean,
): Promise<string> {
  input.setRawMode(true)
  prompt.write(
    `${option}: paste or type the secret (it is not shown), then press ${multiline ? 'Ctrl-D on a line of its own' : 'Enter'}: `,
  )
  return new Promise((resolve, reject) => {
    let typed = ''
    const end = () => {
      input.off('data', read)
      input.off('end', done)
      input.setRawMode(false)
      input.pause()
      prompt.write('\n')
    }
    const done = () => {
      end()
      resolve(typed)
    }
    const read = (text: string) => {
      for (const character of text) {
        if (character === interrupt) {
          end()
          return reject(new UsageError(`${option}: interrupted`))
        }
        if (character === endOfInput || (!multiline && newline.test(character))) return done()
        if (erase.has(character)) typed = [...typed].slice(0, -1).join('')
        else typed += character === '\r' ? '\n' : character
      }
      if (typed.length > maxSecretBytes) done()
    }
    input.setEncoding('utf8')
    input.on('data', read)
    input.on('end', done)
    input.resume()
  })
}
