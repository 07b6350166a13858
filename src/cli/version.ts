/** The version of this package. */
import { readFileSync } from 'node:fs'
import { findPackageJSON } from 'node:module'

/** From the package.json above this file, in a checkout as in a build. */
export function version(): string {
  const file = findPackageJSON('..', import.meta.url)
  if (file === undefined) throw new Error('no package.json above src/cli')
  return String(JSON.parse(readFileSync(file, 'utf8')).version)
}
