/** Hands TCP connections to several ports in turn, as a balancer before several nodes does. */
import { connect, createServer, type Socket } from 'node:net'
import type { Lasting } from '../running-command.ts'

export interface Balancer {
  readonly port: number
  /** Connections that each port was given, in the order of the ports. */
  readonly given: readonly number[]
}

export async function startBalancer(test: Lasting, ports: readonly number[]): Promise<Balancer> {
  const given = ports.map(() => 0)
  const sockets = new Set<Socket>()
  let turn = 0
  const server = createServer((client) => {
    const at = turn++ % ports.length
    given[at] = (given[at] ?? 0) + 1
    const node = connect(ports[at] ?? 0, '127.0.0.1')
    for (const [one, other] of [
      [client, node],
      [node, client],
    ] as const) {
      sockets.add(one)
      one.pipe(other)
      one.on('error', () => other.destroy())
      one.on('close', () => {
        sockets.delete(one)
        other.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  test.after(async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    for (const socket of sockets) socket.destroy()
    await closed
  })
  const address = server.address()
  return { port: typeof address === 'object' ? (address?.port ?? 0) : 0, given }
}
