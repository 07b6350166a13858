/** A PostgreSQL to test with: new databases on the server of this machine, and a way to it that can be cut. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { after } from 'node:test'
import pg from 'pg'

const server = { host: '127.0.0.1', port: 5432, user: 'postgres' }

const names: string[] = []
after(async () => {
  for (const name of names) await administer(`drop database if exists ${name} with (force)`)
})

async function administer(statement: string): Promise<void> {
  const client = new pg.Client({ ...server, database: 'postgres' })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}

/** Name of a new database, which is dropped after the tests of this file. */
export async function newDatabase(): Promise<string> {
  const name = `credence_test_${process.pid}_${randomBytes(4).toString('hex')}`
  names.push(name)
  await administer(`create database ${name}`)
  return name
}

export const urlOf = (name: string, port = server.port) =>
  `postgres://${server.user}:canary-password@${server.host}:${port}/${name}`

export interface Way {
  readonly port: number
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

/** A way to the server through a port of its own. */
export async function newWay(): Promise<Way> {
  let sent = ''
  let isStalled = false
  let cut: { text: string; when: 'before' | 'after' } | undefined
  const sockets = new Set<Socket>()
  const gate = createServer((client) => {
    const behind = connect(server.port, server.host)
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
  after(close)
  return {
    port,
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
