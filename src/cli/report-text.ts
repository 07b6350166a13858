/** The report as text for people. */

import { stages } from '../sources/source.ts'
import { providerSaid } from '../validation/answer.ts'
import type { CheckReport, Report, Warning } from '../validation/report.ts'
import { fold, plainStyle, printable, type Style } from './terminal.ts'

const stageTitles: Readonly<Record<(typeof stages)[number], string>> = {
  shape: 'Shape',
  access: 'Access',
  identity: 'Identity',
  capability: 'Reads',
  health: 'Health',
}

/** What a line of the list shows; a check that has not ended yet is `pending`. */
export type ListedCheck = Pick<CheckReport, 'id' | 'stage' | 'title' | 'required' | 'because'> & {
  readonly status: CheckReport['status'] | 'pending'
}

export function checkLine(check: ListedCheck, style: Style = plainStyle): string {
  const remark = remarkOf(check)
  return `  ${mark(check, style)} ${printable(check.title)}${remark === '' ? '' : style.paint('dim', ` (${remark})`)}`
}

function remarkOf({ status, required, because }: ListedCheck): string {
  if (status === 'skipped') return because === undefined ? 'does not apply' : 'not asked'
  return !required && (status === 'failed' || status === 'unknown') ? 'optional' : ''
}

function mark({ status, required }: ListedCheck, style: Style): string {
  switch (status) {
    case 'passed':
      return style.paint('green', '✓')
    case 'failed':
      return style.paint(required ? 'red' : 'yellow', '✗')
    case 'unknown':
      return style.paint('yellow', '?')
    case 'skipped':
      return style.paint('dim', '–')
    case 'pending':
      return style.paint('dim', '·')
  }
}

/** Lines of the checks under the headings of their stages, in declared order; `detail` follows a check's line. */
export function stagedLines<C extends ListedCheck>(
  checks: readonly C[],
  style: Style,
  detail: (check: C) => readonly string[] = () => [],
): string[] {
  return stages.flatMap((stage) => {
    const ofStage = checks.filter((check) => check.stage === stage)
    if (ofStage.length === 0) return []
    return [
      style.paint('bold', stageTitles[stage]),
      ...ofStage.flatMap((check) => [checkLine(check, style), ...detail(check)]),
    ]
  })
}

/** The whole report, ending in a newline. `sourceTitle` is the provider's name for people. */
export const reportText = (report: Report, sourceTitle: string, style: Style = plainStyle): string =>
  `${headLines(report, sourceTitle, style).join('\n')}\n\n${reportBody(report, sourceTitle, style)}`

/** The same without its heading, for a place that says already whom it is about. */
export function reportBody(report: Report, sourceTitle: string, style: Style = plainStyle): string {
  const sections = [
    stagedLines(report.checks, style, detailOf(sourceTitle, style)),
    capabilityLines(report, style),
    warningLines(report, style),
    [verdictLine(report, style)],
  ]
  return `${sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')}\n`
}

export function headLine(sourceTitle: string, domain: string | undefined, style: Style): string {
  return style.paint('bold', domain === undefined ? sourceTitle : `${sourceTitle} ${printable(domain)}`)
}

function headLines({ subject }: Report, sourceTitle: string, style: Style): string[] {
  const about = [
    subject.principal === undefined ? [] : [`credentials of ${subject.principal}`],
    subject.organization === undefined ? [] : [`organisation ${subject.organization}`],
  ].flat()
  return [
    headLine(sourceTitle, subject.domain, style),
    ...(about.length === 0 ? [] : fold(printable(about.join(', ')), style.width, '')),
  ]
}

const detailIndent = '      '

/** What is told below a check that did not pass. A cause that several checks share is told in full once. */
function detailOf(sourceTitle: string, style: Style) {
  const told = new Set<string>()
  const line = (text: string) => fold(printable(text), style.width, detailIndent)

  return (check: CheckReport): string[] => {
    if (check.cause === undefined) return []
    const { code, title, explanation, remedy, docs } = check.cause
    const lost = check.without === undefined ? [] : line(`Without it: ${check.without}`)
    const said = providerSaid(check)
    const answered = said === '' ? [] : line(`${sourceTitle} answered: ${said}`)
    const whole = [title, explanation, remedy].join('\n')
    if (told.has(whole)) return [...answered, ...line(`${title} (see above).`), ...lost]
    told.add(whole)
    return [
      ...answered,
      ...line(`${title}. ${explanation}`),
      ...lost,
      ...line(`Remedy: ${remedy}`),
      ...line(`See ${docs} (${code})`),
    ]
  }
}

function capabilityLines({ capabilities, checks }: Report, style: Style): string[] {
  if (capabilities.length === 0) return []
  // Of a check that was never asked nobody knows whether its permission is missing.
  const asked = checks.filter(({ status }) => status === 'failed' || status === 'unknown')
  const lacking = new Set(asked.map(({ needs }) => needs?.name))
  const widest = Math.max(...capabilities.map(({ entity_type }) => entity_type.length))
  return [
    style.paint('bold', 'What a sync could read'),
    ...capabilities.map(({ entity_type, available, missing }) => {
      const name = entity_type.replaceAll('_', ' ').padEnd(widest)
      if (available) return `  ${name}  ${style.paint('green', 'yes')}`
      const needs = missing.filter((need) => lacking.has(need)).map((need) => `, needs ${printable(need)}`)
      return `  ${name}  ${style.paint('yellow', 'not proved')}${needs.join('')}`
    }),
  ]
}

function warningLines({ checks, warnings }: Report, style: Style): string[] {
  if (warnings.length === 0) return []
  const statuses = new Map(checks.map((check) => [check.id, check.status]))
  const tell = (warning: Warning) => {
    // What did not pass was told in full under its check.
    const isTold = statuses.get(warning.check) !== 'passed'
    const text = isTold ? `${warning.title}.` : `${warning.title}. ${warning.explanation} ${warning.remedy}`
    const [first = '', ...rest] = fold(printable(text), style.width, '    ')
    return [
      `  ${style.paint('yellow', '!')} ${first.trimStart()}`,
      ...rest,
      ...(isTold ? [] : [`    See ${printable(warning.docs)} (${printable(warning.code)})`]),
    ]
  }
  return [style.paint('bold', 'Warnings'), ...warnings.flatMap(tell)]
}

function verdictLine({ verdict, checks, duration_ms, retry_after_seconds }: Report, style: Style): string {
  const took = duration_ms < 1_000 ? `${duration_ms} ms` : `${(duration_ms / 1_000).toFixed(1)} s`
  const count = (status: CheckReport['status']) =>
    checks.filter((check) => check.required && check.status === status).length
  switch (verdict) {
    case 'valid':
      return `${style.paint(['bold', 'green'], '✓ Valid')}: everything that a sync requires was proved (${took}).`
    case 'invalid':
      return `${style.paint(['bold', 'red'], '✗ Invalid')}: ${checksThat(count('failed'))} failed (${took}).`
    case 'indeterminate': {
      const again =
        retry_after_seconds === undefined ? 'Try again later' : `Try again in ${retry_after_seconds} s`
      return `${style.paint(['bold', 'yellow'], '? Could not tell')}: ${checksThat(count('unknown'))} got no clear answer (${took}). ${again}.`
    }
  }
}

const checksThat = (count: number) => (count === 1 ? '1 required check' : `${count} required checks`)
