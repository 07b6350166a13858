/** Folders of tests. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Lasting } from './running-command.ts'

/**
 * An empty folder for as long as the test takes. All may pass through it, as PostgreSQL must, which is another user
 * where root starts it: a database below a closed folder would lie elsewhere, and stay when the folder is removed.
 */
export function newFolder(test: Lasting): string {
  const folder = mkdtempSync(join(tmpdir(), 'credence-test-'))
  chmodSync(folder, 0o711)
  test.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
