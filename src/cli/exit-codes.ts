/** What the exit status says, and the errors that lead to one. */

/** `validate` ends with one of these four and no other. */
export const exitCodes = {
  /** Valid; for other commands: done. */
  ok: 0,
  /** Invalid; for other commands: could not be done. */
  no: 1,
  /** The command line, the environment or an input file is wrong; nothing was asked. */
  usage: 2,
  /** Could not tell: the provider did not say, or Credence itself failed. */
  unknown: 3,
} as const

/** The caller made a mistake: told in one line, ends with status 2. Its message never holds a secret. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** What was asked cannot be done here and now (a port is taken): told in one line, ends with status 1. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
}

/** Whether it was done, or would be, was not to be found out (a server does not answer): told in one line, ends with status 3. */
export class CouldNotTell extends Error {
  override readonly name = 'CouldNotTell'
}
