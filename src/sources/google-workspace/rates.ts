/** The limits of the Admin SDK as Google documents them. */
import { retryAfterSeconds } from '../../outbound/retry-after.ts'
import type { RateLimit, RateNews, RateRules } from '../reading.ts'
import { apiPaths, isObject, reasonsIn } from './client.ts'
import { throttlingReasons } from './diagnosis.ts'
import { canonicalDomain, type GoogleCredentials, isEmailAddress } from './secrets.ts'

type Bucket = 'directory' | 'reports' | 'token'

/**
 * Both APIs: 2,400 queries a minute for each user and Google Cloud project, by default; nobody is told of more. The
 * token endpoint's limit is not published; a run needs a handful of tokens an hour.
 *
 * @see https://developers.google.com/workspace/admin/directory/v1/limits
 * @see https://developers.google.com/workspace/admin/reports/v1/limits
 */
const limits: Readonly<Record<Bucket, RateLimit>> = {
  directory: { points: 2_400, perMs: 60_000 },
  reports: { points: 2_400, perMs: 60_000 },
  token: { points: 300, perMs: 60_000 },
}

/** `quotaExceeded` tells of too many requests at a time; the number is not published. This one is ours. */
const concurrency = 40

/**
 * How long nothing is asked after a refusal, in milliseconds. Google sends no Retry-After and asks for exponential
 * backoff from one second on; who keeps the budget slows down with every refusal.
 */
const stopMs = { minute: 5_000, moment: 1_000 }
/** A limit by the minute, or by the hour and day. `quotaExceeded` is about the moment. */
const momentaryReasons = new Set(['quotaExceeded', 'concurrentLimitExceeded'])

/** Error bodies are below 4 KB; nothing longer is looked into. In characters. */
const maxErrorLength = 65_536

export const rates: RateRules<GoogleCredentials> = {
  /**
   * Google counts for each user (the administrator acted for) and project (the service account's), and some limits for
   * the whole Workspace. The Workspace's id is not known before something was asked, but its administrators share a
   * domain: configurations of one Workspace with one project share a budget, whichever of its domains or
   * administrators they name. Customers of an operator's one service account do not.
   */
  account({ credentials, domain }) {
    const { adminEmail } = credentials
    const own =
      adminEmail !== undefined && isEmailAddress(adminEmail)
        ? adminEmail.slice(adminEmail.lastIndexOf('@') + 1).toLowerCase()
        : canonicalDomain(domain)
    return `${projectOf(credentials.text('client_email'))}/${own ?? 'unknown'}`
  },

  bucketOf({ url }) {
    const { pathname } = new URL(url)
    const bucket: Bucket = pathname.startsWith(apiPaths.directory)
      ? 'directory'
      : pathname.startsWith(apiPaths.reports)
        ? 'reports'
        : 'token'
    return { bucket, cost: 1 }
  },

  documented: (bucket) => limits[bucket as Bucket] ?? limits.directory,
  concurrency,

  newsIn({ status, headers, text }): RateNews | undefined {
    // Google tells nothing of its limits until it refuses: with 403 or 429, and with 503 in the Reports API.
    if (status !== 403 && status !== 429 && status !== 503) return undefined
    const reasons = reasonsOf(text)
    if (status !== 429 && !reasons.some((reason) => throttlingReasons.has(reason))) return undefined
    const asked = retryAfterSeconds(headers, new Date())
    const isMomentary = reasons.some((reason) => momentaryReasons.has(reason))
    return {
      throttledForMs: Math.max(isMomentary ? stopMs.moment : stopMs.minute, (asked ?? 0) * 1_000),
    }
  },
}

/** The project that a service account belongs to: a part of its address, which unlike the key file's word for it is proved by its key. */
function projectOf(email: string | undefined): string {
  const project = /@([a-z0-9.:-]{1,64})\.iam\.gserviceaccount\.com$/.exec(email ?? '')?.[1]
  return project ?? (email !== undefined && /^[\w.@+-]{1,200}$/.test(email) ? email : 'unknown')
}

function reasonsOf(text: string): readonly string[] {
  if (text.length > maxErrorLength) return []
  try {
    const body: unknown = JSON.parse(text)
    if (!isObject(body)) return []
    const { error } = body
    // OAuth's form, in which the token endpoint answers.
    if (typeof error === 'string') return [error]
    return isObject(error) ? reasonsIn(error) : []
  } catch {
    return []
  }
}
