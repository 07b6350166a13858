/** Sorts the records of a page into entities and those that could not be read. */
import type { Entity, EntityKind } from '../../entities/model.ts'
import type { Page } from '../reading.ts'
import { isObject } from './access.ts'
import type { GraphObject } from './client.ts'
import type { Read } from './normalise.ts'
import { idOf } from './values.ts'

export function sortOut(
  kind: EntityKind,
  records: readonly unknown[],
  normalise: (record: GraphObject) => Read<Entity>,
): Pick<Page, 'entities' | 'unreadable'> {
  const entities: Entity[] = []
  const unreadable: NonNullable<Page['unreadable']>[number][] = []
  for (const record of records) {
    const read = isObject(record) ? normalise(record) : { reason: 'it is no object' }
    if ('entity' in read) {
      entities.push(read.entity)
      continue
    }
    const uid = isObject(record) ? idOf(record.id) : undefined
    unreadable.push({ kind, reason: read.reason, ...(uid !== undefined && { uid }) })
  }
  return { entities, ...(unreadable.length > 0 && { unreadable }) }
}
