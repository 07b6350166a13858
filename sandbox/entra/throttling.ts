/**
 * Microsoft's published limits, as token buckets: resource units for the directory by the tenant's size, requests for
 * the reports.
 *
 * @see https://learn.microsoft.com/graph/throttling-limits#identity-and-access-service-limits
 */

const windowMs = 10_000

/** Base costs; everything else costs 1. */
const costs: Readonly<Record<string, number>> = {
  applications: 2,
  'groups/*/members': 3,
  'groups/*/transitiveMembers': 5,
  users: 2,
  'users/*/memberOf': 2,
}

const isReport = (path: string) => path.startsWith('/reports/')

/** In resource units. */
export function costOf(path: string, query: URLSearchParams): number {
  if (isReport(path)) return 1
  const shape = path
    .split('/')
    .slice(1)
    .map((segment, index) => (index === 1 && segment !== '$count' && segment !== 'delta' ? '*' : segment))
    .join('/')
  const top = query.get('$top')
  const cost =
    (costs[shape] ?? 1) -
    (query.has('$select') ? 1 : 0) -
    (top !== null && Number(top) < 20 ? 1 : 0) +
    (query.has('$expand') ? 1 : 0)
  return Math.max(1, cost)
}

export interface Charge {
  readonly headers: Readonly<Record<string, string>>
  readonly isThrottled: boolean
}

export interface Throttling {
  charge(asked: {
    readonly path: string
    readonly query: URLSearchParams
    readonly now: Date
    readonly tenantId: string
    readonly clientId: string
    readonly users: number
  }): Charge
}

interface Bucket {
  left: number
  at: number
}

export function createThrottling(): Throttling {
  const buckets = new Map<string, Bucket>()
  return {
    charge({ path, query, now, tenantId, clientId, users }) {
      const limit = isReport(path) ? 5 : users < 50 ? 3_500 : users <= 500 ? 5_000 : 8_000
      const key = `${isReport(path) ? 'reports' : 'directory'} ${tenantId} ${clientId}`
      const bucket = buckets.get(key) ?? { left: limit, at: now.getTime() }
      buckets.set(key, bucket)
      const passed = Math.max(0, now.getTime() - bucket.at)
      bucket.left = Math.min(limit, bucket.left + (passed * limit) / windowMs)
      bucket.at = Math.max(bucket.at, now.getTime())
      const cost = costOf(path, query)
      if (bucket.left < cost) {
        const seconds = Math.max(1, Math.ceil(((cost - bucket.left) * windowMs) / limit / 1000))
        return {
          isThrottled: true,
          headers: {
            'retry-after': String(seconds),
            'x-ms-throttle-scope': `Tenant_Application/ReadWrite/${clientId}/${tenantId}`,
            'x-ms-throttle-information': 'ResourceUnitLimitExceeded',
          },
        }
      }
      bucket.left -= cost
      const headers: Record<string, string> = { 'x-ms-resource-unit': String(cost) }
      const used = 1 - bucket.left / limit
      if (used > 0.8) headers['x-ms-throttle-limit-percentage'] = used.toFixed(2)
      return { isThrottled: false, headers }
    },
  }
}
