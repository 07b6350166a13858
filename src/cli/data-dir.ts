/** The data directory: where the embedded database lives, and what is said when it cannot be used. */
import { Option } from 'commander'
import { CommandError } from './exit-codes.ts'
import { printable } from './terminal.ts'

export const dataDirOption = () =>
  new Option('--data-dir <folder>', 'folder of the embedded database; made when it does not exist').default(
    '.credence',
  )

const reasons: Readonly<Record<string, string>> = {
  EACCES: 'this user may not use it',
  EPERM: 'this user may not use it',
  EROFS: 'it is on a read-only file system',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  ENOTDIR: 'it, or what it is in, is not a folder',
  EEXIST: 'it is not a folder',
  EMFILE: 'too many files are open',
}

/** What the system said about `dataDir`, in one line; any other error as it came. */
export function describeFailure(error: unknown, dataDir: string): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  const reason = typeof code === 'string' ? reasons[code] : undefined
  return reason === undefined
    ? error
    : new CommandError(`the data directory ${printable(dataDir)} cannot be used: ${reason} (${code})`)
}
