/** How a validation judges: which checks are asked, when, and what the verdict is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { HttpClient } from '../outbound/http.ts'
import { SourceError } from '../outbound/source-error.ts'
import { type CauseCatalogue, causeOf } from '../sources/cause.ts'
import { type Check, defineSource, type EntityType, type Outcome, type Stage } from '../sources/source.ts'
import { type CheckReport, reportSchema } from './report.ts'
import { validate } from './validate.ts'

const causes = {
  example_no: {
    determinate: true,
    title: 'No',
    explanation: 'It said no.',
    remedy: 'Ask nicely.',
    docs: 'https://example.com',
  },
  example_unclear: {
    determinate: false,
    title: '?',
    explanation: 'Silence.',
    remedy: 'Try again.',
    docs: 'https://example.com',
  },
} satisfies CauseCatalogue

type Ending = 'passed' | 'failed' | 'unknown' | 'inapplicable' | 'refused' | 'silent'

const endings: Record<Ending, () => Promise<Outcome>> = {
  passed: async () => ({ status: 'passed' }),
  failed: async () => ({ status: 'failed', cause: causeOf(causes, 'example_no').cause }),
  unknown: async () => ({ status: 'unknown', cause: causeOf(causes, 'example_unclear').cause }),
  inapplicable: async () => ({ status: 'skipped' }),
  refused: async () => {
    throw new SourceError({ code: 'refused', operation: 'ask', status: 403, providerCode: 'NO' })
  },
  silent: async () => {
    throw new SourceError({ code: 'timed_out', operation: 'ask', retryAfterSeconds: 7 })
  },
}

interface CheckPlan {
  readonly id: string
  readonly ends?: Ending | (() => Promise<Outcome>)
  readonly after?: readonly string[]
  readonly required?: boolean
  readonly stage?: Stage
  readonly capability?: Check<undefined>['capability']
  readonly needs?: string
}

const planned = (plan: CheckPlan): Check<undefined> => ({
  id: plan.id,
  stage: plan.stage ?? 'capability',
  title: plan.id,
  proves: plan.id,
  required: plan.required ?? true,
  after: plan.after ?? [],
  ...(plan.capability && { capability: plan.capability }),
  ...(plan.needs && {
    needs: { kind: 'scope', name: plan.needs, grantAt: 'Console', docs: 'https://example.com' },
  }),
  run: typeof plan.ends === 'function' ? plan.ends : endings[plan.ends ?? 'passed'],
})

const silence: HttpClient & { close(): Promise<void> } = {
  request: async () => assert.fail('nothing is sent here'),
  close: async () => undefined,
}

async function validated(
  plans: readonly CheckPlan[],
  options: {
    secrets?: readonly string[]
    timeoutMs?: number
    onCheck?: (check: CheckReport) => void
    require?: readonly EntityType[]
  } = {},
) {
  const source = defineSource<readonly string[], undefined>({
    name: 'example',
    integrationType: 'EXAMPLE',
    title: 'Example',
    domainField: { name: 'domain', title: 'Domain', help: '', docs: 'https://example.com' },
    credentialKinds: [],
    causes,
    checks: plans.map(planned),
    readDomain: (domain) => ({ ok: true, domain }),
    readCredentials: () => ({ ok: true, credentials: [] }),
    secretsIn: (secrets) => secrets,
    principalOf: () => undefined,
    egress: () => [],
    open: () => undefined,
    diagnose: (error) => causeOf(causes, error.code === 'refused' ? 'example_no' : 'example_unclear'),
  })
  const report = await validate(
    source,
    { domain: 'example.com', credentials: options.secrets ?? [] },
    { openHttp: () => silence, now: () => new Date() },
    {
      timeoutMs: options.timeoutMs ?? 5_000,
      ...(options.onCheck && { onCheck: options.onCheck }),
      ...(options.require && { require: options.require }),
    },
  )
  return reportSchema.parse(report)
}

const statusOf = (report: { checks: readonly CheckReport[] }, id: string) =>
  report.checks.find((check) => check.id === id)?.status

test('is valid when every required check passed or did not apply', async () => {
  const report = await validated([
    { id: 'token' },
    { id: 'expiry', ends: 'inapplicable' },
    { id: 'users', after: ['token', 'expiry'] },
  ])
  assert.equal(report.verdict, 'valid')
  assert.equal(statusOf(report, 'users'), 'passed')
})

test('a capability that is required for once decides the verdict, with all that it comes after', async () => {
  const plans: CheckPlan[] = [
    { id: 'token' },
    { id: 'scope', ends: 'refused', required: false, after: ['token'] },
    { id: 'roles', required: false, after: ['scope'], capability: 'roles' },
    { id: 'mfa', ends: 'silent', required: false, after: ['token'], capability: 'mfa' },
    { id: 'expiry', ends: 'refused', stage: 'health', required: false, capability: 'credential_expiry' },
  ]
  assert.equal((await validated(plans)).verdict, 'valid')
  const report = await validated(plans, { require: ['roles'] })
  assert.equal(report.verdict, 'invalid')
  assert.deepEqual(
    report.checks.filter(({ required }) => required).map(({ id }) => id),
    ['token', 'scope', 'roles'],
  )
  assert.equal((await validated(plans, { require: ['mfa'] })).verdict, 'indeterminate')
  assert.equal((await validated(plans, { require: ['credential_expiry', 'devices'] })).verdict, 'valid')
})

test('is invalid when a required check failed, even where another is unknown', async () => {
  assert.equal(
    (
      await validated([
        { id: 'a', ends: 'silent' },
        { id: 'b', ends: 'refused' },
      ])
    ).verdict,
    'invalid',
  )
})

test('is indeterminate when a required check is unknown and none failed, and passes on the wait', async () => {
  const report = await validated([{ id: 'a', ends: 'silent' }, { id: 'b' }])
  assert.equal(report.verdict, 'indeterminate')
  assert.equal(report.retry_after_seconds, 7)
})

test('is indeterminate, never valid, when what a required check comes after did not pass, optional though it be', async () => {
  const report = await validated([
    { id: 'hint', ends: 'failed', required: false },
    { id: 'users', after: ['hint'] },
  ])
  assert.equal(report.verdict, 'indeterminate')
  assert.deepEqual(
    report.checks.map(({ status, because }) => ({ status, because })),
    [
      { status: 'failed', because: undefined },
      { status: 'skipped', because: 'hint' },
    ],
  )
})

test('skips all that comes after a failure, however far', async () => {
  const report = await validated([
    { id: 'key', ends: 'failed' },
    { id: 'token', after: ['key'], ends: async () => assert.fail('must not be asked') },
    { id: 'users', after: ['token'], ends: async () => assert.fail('must not be asked') },
  ])
  assert.deepEqual(
    report.checks.map((check) => check.because),
    [undefined, 'key', 'token'],
  )
})

test('names a missing optional capability as a warning and stays valid', async () => {
  const report = await validated([
    { id: 'users', capability: 'users' },
    { id: 'devices', capability: 'devices', ends: 'failed', required: false, needs: 'devices.read' },
  ])
  assert.equal(report.verdict, 'valid')
  assert.deepEqual(report.capabilities, [
    { entity_type: 'users', available: true, missing: [] },
    { entity_type: 'devices', available: false, missing: ['devices.read'] },
  ])
  assert.deepEqual(
    report.warnings.map(({ check, code }) => ({ check, code })),
    [{ check: 'devices', code: 'example_no' }],
  )
})

test('asks checks side by side, and reports them in the declared order', async () => {
  const { promise: secondAsked, resolve } = Promise.withResolvers<void>()
  const told: string[] = []
  const report = await validated(
    [
      {
        id: 'first',
        ends: async () => {
          await secondAsked
          return { status: 'passed' }
        },
      },
      {
        id: 'second',
        ends: async () => {
          resolve()
          return { status: 'passed' }
        },
      },
    ],
    { onCheck: (check) => told.push(check.id) },
  )
  assert.deepEqual(
    report.checks.map((check) => check.id),
    ['first', 'second'],
  )
  assert.deepEqual([...told].sort(), ['first', 'second'])
})

test('lets a bug through instead of giving it a verdict', async () => {
  await assert.rejects(
    validated([{ id: 'a', ends: async () => Promise.reject(new TypeError('bug')) }]),
    TypeError,
  )
})

test('hides a secret that the provider echoes, and does not let a secret spelled like a verdict change one', async () => {
  const report = await validated(
    [
      {
        id: 'token',
        ends: async () => ({
          status: 'failed',
          cause: causeOf(causes, 'example_no').cause,
          provider: { status: 401, message: 'bad token s3cr3t-s3cr3t' },
        }),
      },
    ],
    { secrets: ['s3cr3t-s3cr3t', 'invalid'] },
  )
  assert.equal(report.verdict, 'invalid')
  assert.equal(report.checks[0]?.provider?.message, 'bad token [redacted]')
})

test('whatever the checks, the verdict follows from the required ones alone', async () => {
  const plan = fc.record({
    ends: fc.constantFrom<Ending>('passed', 'failed', 'unknown', 'inapplicable', 'refused', 'silent'),
    required: fc.boolean(),
    after: fc.option(fc.nat({ max: 7 }), { nil: undefined }),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(plan, { minLength: 1, maxLength: 8 }), async (plans) => {
      const report = await validated(
        plans.map(({ ends, required, after }, index) => ({
          id: `c${index}`,
          ends,
          required,
          after: after !== undefined && after < index ? [`c${after}`] : [],
        })),
      )
      const required = report.checks.filter((check) => check.required)
      const expected = required.some((check) => check.status === 'failed')
        ? 'invalid'
        : required.every(
              (check) =>
                check.status === 'passed' || (check.status === 'skipped' && check.because === undefined),
            )
          ? 'valid'
          : 'indeterminate'
      assert.equal(report.verdict, expected)
      for (const check of report.checks)
        assert.equal('cause' in check, check.status === 'failed' || check.status === 'unknown')
    }),
    { numRuns: 300 },
  )
})
