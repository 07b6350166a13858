/** A made-up source for tests of the API: its provider says of an API token what the token's own text asks for. */
import { z } from 'zod'
import { isHostName } from '../src/outbound/host-name.ts'
import type { HttpAnswer } from '../src/outbound/http.ts'
import type { Outbound } from '../src/outbound/outbound.ts'
import { SourceError } from '../src/outbound/source-error.ts'
import { causeOf } from '../src/sources/cause.ts'
import { commonCauses, diagnoseCommon } from '../src/sources/common-causes.ts'
import { type Check, defineSource, type SourceTools, type Target } from '../src/sources/source.ts'

interface Credentials {
  readonly apiToken: string | undefined
  readonly admin: string | undefined
}

interface Session extends SourceTools {
  readonly target: Target<Credentials>
}

const docs = 'https://example.com/docs'

const causes = {
  ...commonCauses('acme', 'Acme', docs),
  acme_domain_malformed: {
    determinate: true,
    title: 'The domain is not a host name',
    explanation: 'It cannot be looked up.',
    remedy: 'Write it as acme.example.',
    docs,
  },
  acme_token_missing: {
    determinate: true,
    title: 'No API token was given',
    explanation: 'There is nothing to send.',
    remedy: 'Give an API token.',
    docs,
  },
  acme_token_rejected: {
    determinate: true,
    title: 'Acme does not accept the API token',
    explanation: 'It may have been revoked.',
    remedy: 'Make a new one.',
    docs,
  },
}

const passed = { status: 'passed' } as const

const failed = (code: keyof typeof causes) =>
  ({ status: 'failed', cause: causeOf(causes, code).cause }) as const

const checks: Check<Session>[] = [
  {
    id: 'credentials_shape',
    stage: 'shape',
    title: 'Credentials complete',
    proves: 'There is something to send.',
    required: true,
    after: [],
    run: async ({ target }) =>
      target.credentials.apiToken === undefined ? failed('acme_token_missing') : passed,
  },
  {
    id: 'domain_shape',
    stage: 'shape',
    title: 'Domain well formed',
    proves: 'The domain can be looked up.',
    required: true,
    after: [],
    run: async ({ target }) => (isHostName(target.domain) ? passed : failed('acme_domain_malformed')),
  },
  {
    id: 'users',
    stage: 'capability',
    capability: 'users',
    title: 'Users can be read',
    proves: 'A user was read.',
    required: true,
    after: ['credentials_shape', 'domain_shape'],
    run: async ({ http, target }) => {
      const answer = await http.request({
        operation: 'read users',
        method: 'GET',
        url: `https://${target.domain}/users`,
        headers: { authorization: target.credentials.apiToken ?? '' },
      })
      if (answer.status !== 200)
        throw new SourceError({
          code: 'refused',
          operation: 'read users',
          status: answer.status,
          providerMessage: answer.text,
          ...(answer.status === 429 && { retryAfterSeconds: 7 }),
        })
      return { ...passed, subject: { principal: 'robot', organization: 'acme' } }
    },
  },
]

const text = z.string()

/** What the provider did with the requests that reached it. */
export interface Acme {
  readonly source: typeof source
  readonly outbound: Outbound
  /** Tokens that reached the provider, in order. */
  readonly reached: string[]
  /** Answers every request that hangs (`hang…`) as if its token were valid. */
  release(): void
}

const source = defineSource<Credentials, Session>({
  name: 'acme',
  integrationType: 'ACME',
  title: 'Acme',
  domainField: { name: 'domain', title: 'Domain', help: 'The host.', example: 'acme.example', docs },
  credentialKinds: [
    {
      kind: 'api_token',
      title: 'API token',
      fields: [{ name: 'api_token', title: 'API token', help: '', secret: true, required: true, docs }],
      schema: z.object({ api_token: z.string() }),
    },
  ],
  operator: {
    key: 'acme',
    schema: z.object({ token: z.string() }),
    fields: [{ name: 'token', title: 'Token', help: '', secret: true, required: true, docs }],
    describe: () => ({}),
    needed: ({ apiToken, admin }) => apiToken === undefined && admin !== undefined,
    complete: (credentials, entry) => ({ ...credentials, apiToken: (entry as { token: string }).token }),
  },
  causes,
  checks,
  readDomain: (domain) =>
    isHostName(domain.toLowerCase())
      ? { ok: true, domain: domain.toLowerCase() }
      : { ok: false, diagnosis: causeOf(causes, 'acme_domain_malformed') },
  readCredentials: (secrets) => {
    const { api_token, admin } = secrets ?? {}
    if (api_token !== undefined && !text.safeParse(api_token).success)
      return { ok: false, faults: [{ field: 'secrets.api_token', expected: 'a string' }] }
    if (admin !== undefined && !text.safeParse(admin).success)
      return { ok: false, faults: [{ field: 'secrets.admin', expected: 'a string' }] }
    return {
      ok: true,
      credentials: { apiToken: api_token as string | undefined, admin: admin as string | undefined },
    }
  },
  secretsIn: ({ apiToken }) => (apiToken === undefined ? [] : [apiToken]),
  principalOf: ({ admin }) => admin,
  egress: ({ domain }) => (isHostName(domain) ? [{ host: domain, chosenBy: 'customer' }] : []),
  open: (target, tools) => ({ ...tools, target }),
  diagnose: (error, _, { domain }) =>
    diagnoseCommon('acme', causes, error, domain) ??
    causeOf(causes, error.status === 401 ? 'acme_token_rejected' : 'acme_unrecognised_refusal'),
})

const answerOf = (status: number, body: string): HttpAnswer => ({
  status,
  headers: new Headers(),
  text: body,
  json: () => JSON.parse(body),
  receivedAt: new Date(),
})

/** `valid…` is accepted, `limited…` throttled, `down…` answered 503, `hang…` when released, `bug…` breaks our own code. */
export function createAcme(): Acme {
  const reached: string[] = []
  const held: (() => void)[] = []
  const outbound: Outbound = {
    open: (_, signal) => ({
      async request({ headers }) {
        const token = headers?.authorization ?? ''
        reached.push(token)
        if (token.startsWith('bug')) throw new Error(`no way to handle ${token}`)
        if (token.startsWith('hang')) {
          await new Promise<void>((resolve, reject) => {
            held.push(resolve)
            signal.addEventListener('abort', () =>
              reject(new SourceError({ code: 'timed_out', operation: 'read users' })),
            )
          })
          return answerOf(200, '[]')
        }
        if (token.startsWith('valid')) return answerOf(200, '[]')
        if (token.startsWith('limited')) return answerOf(429, 'slow down')
        if (token.startsWith('down')) return answerOf(503, 'sorry')
        return answerOf(401, `unknown token ${token}`)
      },
      close: async () => {},
    }),
  }
  return {
    source,
    outbound,
    reached,
    release: () => {
      for (const answer of held.splice(0)) answer()
    },
  }
}
