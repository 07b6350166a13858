import { type EntityKind, entityKinds } from '../entities/model.ts'

/** Something for each kind of entities. */
export const byKind = <T>(of: (kind: EntityKind) => T): Record<EntityKind, T> =>
  Object.fromEntries(entityKinds.map((kind) => [kind, of(kind)])) as Record<EntityKind, T>
