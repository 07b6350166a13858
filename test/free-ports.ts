/** Ports for tests that must name them. */
import { createServer, type Server } from 'node:net'

/**
 * The first of `count` consecutive ports that are free. They lie below those that systems hand out by themselves, so
 * that nothing else takes them in the meantime unless it names them too.
 */
export async function freePorts(count: number): Promise<number> {
  for (let tries = 0; tries < 100; tries += 1) {
    const first = 10_000 + Math.floor(Math.random() * 20_000)
    const servers: Server[] = []
    try {
      for (let offset = 0; offset < count; offset += 1) servers.push(await listen(first + offset))
      return first
    } catch {
      // One of them is taken: the next draw will do.
    } finally {
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
    }
  }
  throw new Error(`no ${count} consecutive free ports`)
}

/** A server on loopback that answers nothing: it only takes the port. */
export function listen(port: number): Promise<Server> {
  const server = createServer()
  return new Promise((resolve, reject) => {
    server.once('error', reject).listen(port, '127.0.0.1', () => resolve(server))
  })
}
