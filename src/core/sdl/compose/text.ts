/** Texts of docker-compose files, where `$NAME` stands for a variable of the shell that runs compose. */
import { readScalar } from '../fields.ts'
import { short, type Report } from '../report.ts'
import type { Tree } from '../yaml-tree.ts'

const VARIABLE = /\$(?:\$|\{(\w{1,200})(?:(:?[-?+])([^}]{0,1000}))?\}|(\w{1,200}))/g

/** Defaults are filled in; a variable without one stays as it is, and a warning says so. */
export function composeText(report: Report, tree: Tree | undefined): string | null {
  const scalar = readScalar(report, tree)
  if (!scalar || !tree) return null
  const open = new Set<string>()
  const text = scalar.text.replace(
    VARIABLE,
    (whole, braced?: string, sign?: string, word?: string, bare?: string) => {
      if (whole === '$$') return '$'
      if (sign?.endsWith('-')) return word ?? ''
      open.add(braced ?? bare ?? '')
      return whole
    },
  )
  if (open.size > 0)
    report.warn(tree.place, {
      message: `compose takes ${[...open].map(short).join(', ')} from your shell: fill it in`,
    })
  return text
}

/** The other way: a dollar that compose leaves alone. */
export const composeLiteral = (text: string): string => text.replaceAll('$', '$$$$')
