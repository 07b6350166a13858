import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CheckReport, Report } from '../validation/report.ts'
import { reportText } from './report-text.ts'

const cause = {
  code: 'okta_role_missing',
  title: 'The administrator may not read groups',
  explanation: 'A role is missing.',
  remedy: 'Give the role.',
  docs: 'https://help.okta.com/roles',
}

const check = (id: string, rest: Partial<CheckReport> = {}): CheckReport => ({
  id,
  stage: 'capability',
  title: `Check ${id}`,
  status: 'passed',
  required: true,
  proves: 'something',
  duration_ms: 1,
  ...rest,
})

const report = (rest: Partial<Report>): Report => ({
  verdict: 'valid',
  source: 'okta',
  subject: { domain: 'acme.okta.com' },
  capabilities: [],
  checks: [],
  warnings: [],
  checked_at: '2026-11-24T06:00:00.000Z',
  duration_ms: 1_234,
  ...rest,
})

const linesOf = (rest: Partial<Report>) => reportText(report(rest), 'Okta').split('\n')

test('a check that failed is told with the provider’s words, the cause, the remedy and the page', () => {
  const provider = { status: 403, code: 'E0000006', message: 'You do not have permission' }
  assert.deepEqual(
    linesOf({ verdict: 'invalid', checks: [check('groups', { status: 'failed', cause, provider })] }),
    [
      'Okta acme.okta.com',
      '',
      'Reads',
      '  ✗ Check groups',
      '      Okta answered: 403 E0000006: You do not have permission',
      '      The administrator may not read groups. A role is missing.',
      '      Remedy: Give the role.',
      '      See https://help.okta.com/roles (okta_role_missing)',
      '',
      '✗ Invalid: 1 required check failed (1.2 s).',
      '',
    ],
  )
})

test('a cause that several checks share is explained once', () => {
  const failed = { status: 'failed', cause } as const
  const lines = linesOf({ verdict: 'invalid', checks: [check('users', failed), check('groups', failed)] })
  assert.equal(lines.filter((line) => line.includes('Remedy')).length, 1)
  assert.ok(lines.includes('      The administrator may not read groups (see above).'))
})

test('of an optional check that did not pass is told what a sync goes without', () => {
  const lines = linesOf({
    checks: [check('roles', { status: 'failed', required: false, cause, without: 'Roles are not known.' })],
  })
  assert.deepEqual(lines.slice(3, 7), [
    '  ✗ Check roles (optional)',
    '      The administrator may not read groups. A role is missing.',
    '      Without it: Roles are not known.',
    '      Remedy: Give the role.',
  ])
})

test('a warning about a check that did not pass is short, one about a check that passed is whole', () => {
  const lines = linesOf({
    checks: [check('roles', { status: 'failed', required: false, cause }), check('idle')],
    warnings: [
      { ...cause, check: 'roles' },
      { ...cause, check: 'idle', title: 'Tokens expire when idle', code: 'okta_idle' },
    ],
  })
  assert.ok(lines.includes('  ✗ Check roles (optional)'))
  assert.deepEqual(lines.slice(lines.indexOf('Warnings')), [
    'Warnings',
    '  ! The administrator may not read groups.',
    '  ! Tokens expire when idle. A role is missing. Give the role.',
    '    See https://help.okta.com/roles (okta_idle)',
    '',
    '✓ Valid: everything that a sync requires was proved (1.2 s).',
    '',
  ])
})

test('a permission is called missing only where it was asked for', () => {
  const needs = (name: string) => ({ kind: 'scope' as const, name, grant_at: 'here', docs: 'https://x' })
  const lines = linesOf({
    verdict: 'indeterminate',
    retry_after_seconds: 30,
    checks: [
      check('groups', { status: 'unknown', cause, needs: needs('groups.read') }),
      check('members', { status: 'skipped', because: 'groups', needs: needs('members.read') }),
      check('devices', { status: 'skipped' }),
    ],
    capabilities: [
      { entity_type: 'groups', available: false, missing: ['groups.read'] },
      { entity_type: 'memberships', available: false, missing: ['members.read'] },
    ],
  })
  for (const line of [
    '  – Check members (not asked)',
    '  – Check devices (does not apply)',
    '  groups       not proved, needs groups.read',
    '  memberships  not proved',
    '? Could not tell: 1 required check got no clear answer (1.2 s). Try again in 30 s.',
  ])
    assert.ok(lines.includes(line), line)
})

test('no text of the report can steer the terminal', () => {
  const hostile = '\x1b[2J\u202e\r'
  const words = { code: hostile, title: hostile, explanation: hostile, remedy: hostile, docs: hostile }
  const text = reportText(
    report({
      verdict: 'invalid',
      subject: { domain: hostile, principal: hostile, organization: hostile },
      capabilities: [{ entity_type: 'users', available: false, missing: [hostile] }],
      checks: [
        check('users', {
          title: hostile,
          status: 'failed',
          cause: words,
          provider: { code: hostile, message: hostile },
          needs: { kind: 'scope', name: hostile, grant_at: hostile, docs: hostile },
        }),
        check('idle'),
      ],
      warnings: [{ ...words, check: 'idle' }],
    }),
    'Okta',
  )
  assert.doesNotMatch(text.replaceAll('\n', ''), /[\p{Cc}\p{Cf}]/u)
})
