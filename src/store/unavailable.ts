/** Tells the failures that pass by themselves or by the operator's hand from mistakes of ours. */
import pg from 'pg'

/** The database cannot be used now; the message names what is wrong and never the address's password. */
export class DatabaseUnavailable extends Error {
  override readonly name = 'DatabaseUnavailable'
  /** SQLSTATE, a code of the system, or one of ours. */
  readonly code: string

  constructor(message: string, code: string) {
    super(message)
    this.code = code
  }
}

/** What an administrator is told, by code. Anything not here is a mistake of ours, or of a request. */
const words: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens at the address of the database',
  ECONNRESET: 'the connection to the database was lost',
  EPIPE: 'the connection to the database was lost',
  ENOTFOUND: "the database's host name is not known",
  EAI_AGAIN: "the database's host name cannot be looked up",
  ETIMEDOUT: 'the database does not answer',
  EHOSTUNREACH: 'there is no way to the host of the database',
  ENETUNREACH: 'there is no way to the host of the database',
  EMFILE: 'too many files are open to connect to the database',
  ENFILE: 'too many files are open to connect to the database',
  connection_lost: 'the connection to the database was lost',
  connect_timeout: 'the database does not take a connection in time',
  no_connection_free: 'all connections to the database are in use',
  no_tls: 'the server of the database offers no TLS, which its address asks for',
  query_timeout: 'the database did not answer a statement in time',
  commit_unknown:
    'the connection to the database was lost while a change was saved; it may or may not have been made',
  '25006': 'the database takes no changes: it is a standby, or set to read only',
  '3D000': 'the database of that name does not exist',
  '40001': 'the change met others again and again',
  '40P01': 'the change met others again and again',
  '42501': 'the database user lacks a permission',
  '53100': 'the disk of the database is full',
  '53200': 'the database is out of memory',
  '53300': 'the database has no connection left',
  '55P03': 'others hold a lock on what is needed',
  '57014': 'the statement was cancelled',
  '57P01': 'the database is shutting down',
  '57P02': 'the database is restarting after a crash',
  '57P03': 'the database is starting or recovering',
  '57P05': 'the database ended an idle connection',
  '58030': 'the disk of the database fails',
}
/** By SQLSTATE class: connection, authentication, resources, operator. */
const wordsOfClass: Readonly<Record<string, string>> = {
  '08': 'the connection to the database was lost',
  '28': 'the database refuses the user or the password',
  '53': 'the database is out of something it needs',
  '57': 'the database was interrupted',
  '58': "the database's system fails",
}

const wordsFor = (code: string) =>
  words[code] ?? (/^[0-9A-Z]{5}$/.test(code) ? wordsOfClass[code.slice(0, 2)] : undefined)

/** pg's own errors have no code. */
const clientErrors: readonly (readonly [pattern: RegExp, code: string])[] = [
  [/^Query read timeout$/, 'query_timeout'],
  [/^timeout exceeded when trying to connect$/, 'no_connection_free'],
  [/^The server does not support SSL connections$/, 'no_tls'],
  [/^(?:Connection terminated due to connection timeout|timeout expired)$/, 'connect_timeout'],
  [
    /^(?:Connection terminated|Client has encountered a connection error|Client was closed)/,
    'connection_lost',
  ],
]

/** The code of an error or of what caused it; `undefined` for one that is not the database's. */
export function databaseCode(error: unknown): string | undefined {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    if (at instanceof DatabaseUnavailable) return at.code
    const { message } = at
    const own = clientErrors.find(([pattern]) => pattern.test(message))?.[1]
    if (own !== undefined) return own
    if ('code' in at && (at instanceof pg.DatabaseError || wordsFor(String(at.code)) !== undefined)) {
      return String(at.code)
    }
  }
  return undefined
}

/** Whether the failure is the database's state, so that the same request may succeed later. */
export function isUnavailable(error: unknown): boolean {
  if (error instanceof DatabaseUnavailable) return true
  const code = databaseCode(error)
  return code !== undefined && wordsFor(code) !== undefined
}

/** What an administrator is told of a database that cannot be used. The cause is left out: it may quote values. */
export function unavailable(error: unknown): DatabaseUnavailable {
  if (error instanceof DatabaseUnavailable) return error
  return unavailableBy(databaseCode(error) ?? 'no code')
}

export const unavailableBy = (code: string) =>
  new DatabaseUnavailable(`${wordsFor(code) ?? 'the database cannot be used'} (${code})`, code)

/** The transaction met another and was undone: done again it may succeed. */
export const isConflict = (code: string | undefined) => code === '40001' || code === '40P01'

/** The connection is gone. */
export const isLost = (code: string | undefined) =>
  code !== undefined &&
  (/^(?:08...|57P0[125]|25006)$/.test(code) || ['ECONNRESET', 'EPIPE', 'connection_lost'].includes(code))
