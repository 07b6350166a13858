/** The part of autocannon that the benchmarks use; it comes without types. */
declare module 'autocannon' {
  export interface Request {
    method?: string
    path?: string
    body?: string
  }
  export interface Options {
    url: string
    method?: string
    headers?: Record<string, string>
    body?: string
    connections?: number
    /** Seconds. */
    duration?: number
    /** In turn; `setupRequest` is asked before each. */
    requests?: (Request & { setupRequest?(request: Request): Request })[]
  }
  export interface Result {
    /** Seconds, as measured. */
    duration: number
    requests: { total: number }
    errors: number
    statusCodeStats: Record<string, { count: number }>
  }
  export default function autocannon(options: Options): Promise<Result>
}
