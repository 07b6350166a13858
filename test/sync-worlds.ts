/** Many worlds behind one source, told apart by the domain of the configuration, for servers that several tests share. */
import type { Outbound } from '../src/outbound/outbound.ts'
import type { EntityReader, Json } from '../src/sources/reading.ts'
import type { AnySource } from '../src/sources/registry.ts'
import { createWorld, emptyDirectory, type World } from './sync-world.ts'

/** Whatever is asked is answered: what a page holds is the world's matter. */
export const answering: Outbound = {
  open: () => ({
    request: async () => ({
      status: 200,
      headers: new Headers(),
      text: '{}',
      json: () => ({}),
      receivedAt: new Date(),
    }),
    close: async () => undefined,
  }),
}

interface Session {
  readonly reader: EntityReader<unknown, unknown>
  readonly own: unknown
}

export interface Worlds {
  readonly source: AnySource
  /** The domain by which a configuration is of this world. */
  add(world: World): string
}

/** All worlds have the lists and walks of one without options. */
export function createWorlds(): Worlds {
  const worlds = new Map<string, World>()
  const readerOf = ({ source }: Pick<World, 'source'>): EntityReader<unknown, unknown> => {
    if (source.reader === undefined) throw new Error('a world has no reader')
    return source.reader
  }
  const { source } = createWorld(emptyDirectory())
  const pattern = readerOf({ source })
  const reader: EntityReader<unknown, Session> = {
    ...pattern,
    open(target, tools) {
      const world = worlds.get(target.domain)
      if (world === undefined) throw new Error(`no world has the domain ${target.domain}`)
      const own = readerOf(world)
      return { reader: own, own: own.open(target, tools) }
    },
    lists: pattern.lists.map((list, at) => ({
      ...list,
      read: ({ reader, own }: Session, cursor: Json | undefined) => found(reader.lists, at).read(own, cursor),
    })),
    memberships: pattern.memberships.map((walk, at) => ({
      ...walk,
      read: ({ reader, own }: Session, owner: string, cursor: Json | undefined) =>
        found(reader.memberships, at).read(own, owner, cursor),
    })),
    increments: pattern.increments.map((list, at) => ({
      ...list,
      begin: ({ reader, own }: Session) => found(reader.increments, at).begin(own),
      read: ({ reader, own }: Session, mark: Json, cursor: Json | undefined) =>
        found(reader.increments, at).read(own, mark, cursor),
    })),
  }
  return {
    source: { ...source, reader: reader as EntityReader<unknown, unknown> },
    add(world) {
      const domain = `world-${worlds.size + 1}.example`
      worlds.set(domain, world)
      return domain
    },
  }
}

function found<T>(list: readonly T[], at: number): T {
  const one = list[at]
  if (one === undefined) throw new Error('a world has other lists than the others')
  return one
}
