/** A way to the PostgreSQL of the tests that can be cut. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { server } from './fresh-database.ts'
import type { Lasting } from './running-command.ts'

export interface Way {
  /** The address of a database, by this way. */
  through(url: string): string
  /** What clients have sent. */
  readonly sent: () => string
  /** Nothing passes any more, and nobody is told. */
  stall(): void
  /** Ends all connections and takes no new ones. */
  close(): Promise<void>
  /** Takes connections again, at the same port. */
  reopen(): Promise<void>
  /** Cuts the next connection that sends `text`, before or after the server has it. */
  cutAt(text: string, when: 'before' | 'after'): void
}

/** A way through a port of its own. */
export async function newWay(test: Lasting): Promise<Way> {
  const to = new URL(server.url)
  let sent = ''
  let isStalled = false
  let cut: { text: string; when: 'before' | 'after' } | undefined
  const sockets = new Set<Socket>()
  const gate = createServer((client) => {
    const behind = connect(Number(to.port || 5432), to.hostname)
    for (const socket of [client, behind]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        behind.destroy()
      })
    }
    let isDeaf = false
    client.on('data', (piece) => {
      sent += piece.toString('latin1')
      if (isStalled) return
      if (cut !== undefined && piece.toString('latin1').includes(cut.text)) {
        isDeaf = true
        if (cut.when === 'before') client.destroy()
        else behind.once('data', () => client.destroy())
        cut = undefined
      }
      if (!client.destroyed) behind.write(piece)
    })
    behind.on('data', (piece) => {
      if (!isStalled && !isDeaf) client.write(piece)
    })
  })
  const listen = async (port: number) => {
    gate.listen(port, '127.0.0.1')
    await once(gate, 'listening')
  }
  await listen(0)
  const address = gate.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  const close = async () => {
    if (!gate.listening) return
    const closed = once(gate, 'close')
    gate.close()
    for (const socket of sockets) socket.destroy()
    await closed
  }
  test.after(close)
  return {
    through(url) {
      const address = new URL(url)
      address.host = `127.0.0.1:${port}`
      return address.href
    },
    sent: () => sent,
    stall: () => {
      isStalled = true
    },
    close,
    reopen: async () => {
      isStalled = false
      await listen(port)
    },
    cutAt: (text, when) => {
      cut = { text, when }
    },
  }
}
