/** Bounds how many validations are under way, so that a provider that hangs holds its own share of the server and no other's. */

export interface Capacity {
  /** Takes a place for a validation. Returns what gives it back, or undefined when none is free. */
  take(source: string, organizationId: string): (() => void) | undefined
}

/** @param perSource most validations of one source at a time; one organisation has at most half of them */
export function createCapacity(perSource: number): Capacity {
  const perOrganization = Math.ceil(perSource / 2)
  /** Places taken, by source and by source and organisation. */
  const taken = new Map<string, number>()
  const count = (holder: string, change: 1 | -1) => {
    const places = (taken.get(holder) ?? 0) + change
    if (places === 0) taken.delete(holder)
    else taken.set(holder, places)
  }
  return {
    take(source, organizationId) {
      const holders = [source, JSON.stringify([source, organizationId])] as const
      const [ofSource, ofOrganization] = holders.map((holder) => taken.get(holder) ?? 0) as [number, number]
      if (ofSource >= perSource || ofOrganization >= perOrganization) return undefined
      for (const holder of holders) count(holder, 1)
      let isTaken = true
      return () => {
        if (!isTaken) return
        isTaken = false
        for (const holder of holders) count(holder, -1)
      }
    },
  }
}
