/** What text looks like on a terminal and off it. */
import { styleText } from 'node:util'

type Format = Parameters<typeof styleText>[0]

export interface Style {
  /** Columns to fold text at; infinite off a terminal, where lines are for other programs. */
  readonly width: number
  /** Colours `text` where colours are shown. */
  paint(format: Format, text: string): string
}

/** Longer lines are hard to read, however wide the terminal is. */
const widestText = 100
/** Below this, folding would leave a word a line. */
const narrowestText = 40

export const plainStyle: Style = { width: Number.POSITIVE_INFINITY, paint: (_format, text) => text }

/** Colours only on a terminal that has them; NO_COLOR, FORCE_COLOR and TERM are Node's to judge. */
export function styleOf(stream: NodeJS.WriteStream): Style {
  if (!stream.isTTY) return plainStyle
  const hasColors = stream.hasColors()
  return {
    width: Math.max(narrowestText, Math.min(stream.columns || widestText, widestText)),
    paint: (format, text) => (hasColors ? styleText(format, text, { validateStream: false }) : text),
  }
}

/** Control, bidirectional and zero-width characters could steer the terminal or forge a line. */
const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

/** One line that is safe to print, whatever it came from. */
export const printable = (text: string) => text.toWellFormed().replace(unprintable, ' ')

/** One line of JSON in which every character that could steer a terminal is escaped. */
export const jsonLine = (value: unknown) =>
  `${JSON.stringify(value).replace(
    unprintable,
    // Above U+FFFF a character is two units, each escaped alone.
    (character) =>
      character
        .split('')
        .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
        .join(''),
  )}\n`

/** Folds `text` between words so that no line, `indent` included, is longer than `width`, unless a word is. */
export function fold(text: string, width: number, indent: string): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && indent.length + line.length + 1 + word.length > width) {
      lines.push(indent + line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  return [...lines, indent + line]
}

/** Writes and waits until it is handed over. A reader that went away (`| head`) is no failure. */
export function write(stream: NodeJS.WritableStream, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, (error) => (error && !isClosedPipe(error) ? reject(error) : resolve()))
  })
}

/** Without this a reader that went away would end the process with status 1, which means something else. */
export function tolerateClosedPipes(...streams: readonly NodeJS.WritableStream[]): void {
  for (const stream of streams) {
    stream.on('error', (error: Error) => {
      if (!isClosedPipe(error)) throw error
    })
  }
}

const isClosedPipe = (error: Error) =>
  'code' in error && (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED')
