/** A process that performs a run of a world and ends itself, as by `kill -9`, where it is told to. Not a test. */
import { openDatabase } from '../src/store/database.ts'
import { performRun } from '../src/sync/perform.ts'
import { createWorld, directoryOf, partsOf, quick } from './sync-world.ts'

interface Client {
  query(...given: unknown[]): unknown
}

const [url = '', runId = '', what = '', at = ''] = process.argv.slice(2)
const dies = () => process.kill(process.pid, 'SIGKILL')

const database = await openDatabase({ url, dataDirectory: '', poolSize: 4 })
const world = createWorld(directoryOf({ users: 24, groups: 4 }), { pageSize: 4 })
if (what === 'page')
  world.faults.push(({ before }) => {
    if (before === Number(at)) dies()
    return undefined
  })
if (what === 'commit') {
  let commits = 0
  const connect = database.pool.connect.bind(database.pool) as () => Promise<Client>
  const seen = new WeakSet<Client>()
  // Every commit of pages goes through the pool itself.
  database.pool.connect = (async () => {
    const client = await connect()
    if (seen.has(client)) return client
    seen.add(client)
    const query = client.query.bind(client)
    client.query = (...given) => {
      const answered = query(...given)
      if (given[0] !== 'commit') return answered
      return (answered as Promise<unknown>).then((result) => {
        commits += 1
        if (commits === Number(at)) dies()
        return result
      })
    }
    return client
  }) as never
}
// A page waits until it is committed, so that there are commits to end at.
const parts = partsOf(database, world, { pace: { ...quick, rowsWaiting: 1 } })
const end = await performRun(parts, runId, {
  signal: new AbortController().signal,
  attemptsBefore: 0,
})
process.stdout.write(end.kind)
await database.close()
