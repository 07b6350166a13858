/** The report: what was asked, what the provider said, what it means. One document for API, CLI and store. */
import { z } from 'zod'
import { entityTypes, stages } from '../sources/source.ts'

export const causeSchema = z
  .object({
    code: z.string().describe('Stable name of the cause; docs/diagnoses.md lists them all.'),
    title: z.string(),
    explanation: z.string(),
    remedy: z.string().describe('What an administrator does about it.'),
    docs: z.string().describe("The vendor's page."),
  })
  .meta({ id: 'Cause' })

export const needSchema = z
  .object({
    kind: z.enum(['scope', 'role', 'permission', 'setting']),
    name: z.string(),
    grant_at: z.string(),
    docs: z.string(),
  })
  .meta({ id: 'Need' })

export const checkReportSchema = z
  .object({
    id: z.string(),
    stage: z.enum(stages),
    title: z.string(),
    status: z.enum(['passed', 'failed', 'unknown', 'skipped']),
    required: z.boolean(),
    proves: z.string(),
    without: z
      .string()
      .optional()
      .describe('For an optional check that did not pass: what a sync goes without.'),
    needs: needSchema.optional(),
    provider: z
      .object({ status: z.int().optional(), code: z.string().optional(), message: z.string().optional() })
      .optional()
      .describe("The provider's own status, code and cleaned words."),
    cause: causeSchema.optional(),
    because: z
      .string()
      .optional()
      .describe('For a skipped check: the check that would have had to pass first.'),
    duration_ms: z.int(),
  })
  .meta({ id: 'CheckReport' })

export const warningSchema = causeSchema
  .extend({ check: z.string().describe('Id of the check that raised it.') })
  .meta({ id: 'Warning' })

export const reportSchema = z
  .object({
    verdict: z.enum(['valid', 'invalid', 'indeterminate']),
    source: z.string(),
    subject: z.object({
      principal: z.string().optional(),
      organization: z.string().optional(),
      domain: z.string().optional().describe('In canonical form; absent when it is no domain.'),
    }),
    capabilities: z.array(
      z.object({
        entity_type: z.enum(entityTypes),
        available: z.boolean(),
        missing: z
          .array(z.string())
          .describe('Scopes, roles or permissions that are not proved to be there.'),
      }),
    ),
    checks: z.array(checkReportSchema),
    warnings: z.array(warningSchema),
    checked_at: z.iso.datetime(),
    duration_ms: z.int(),
    credentials_expire_at: z.iso
      .datetime()
      .optional()
      .describe('When the credentials end, where the provider or they themselves tell.'),
    retry_after_seconds: z
      .int()
      .optional()
      .describe('For an indeterminate verdict: how long the provider asked us to wait.'),
  })
  .meta({ id: 'Report' })

export type Report = z.infer<typeof reportSchema>
export type CheckReport = z.infer<typeof checkReportSchema>
export type Warning = z.infer<typeof warningSchema>
