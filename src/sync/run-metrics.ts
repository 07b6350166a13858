/** What runs tell, as metrics. */
import { entityKinds } from '../entities/model.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { RunMetrics } from './parts.ts'

export const runMetrics = (
  metrics: Pick<Metrics, 'countSync' | 'countSyncPage' | 'countSyncEntities'>,
): RunMetrics => ({
  onPage: (source, list) => metrics.countSyncPage(source, list),
  onEnd(source, mode, end, seconds) {
    metrics.countSync(source, mode, end.kind, seconds)
    if (end.kind !== 'succeeded') return
    for (const kind of entityKinds) metrics.countSyncEntities(source, kind, end.merge.counts[kind])
  },
})
