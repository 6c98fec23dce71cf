/** A size in bytes, with its bounds. */
import { wrong } from './fields.ts'
import { bytesText, readBytes } from './quantity.ts'
import { shown, type Report } from './report.ts'
import type { Tree } from './yaml-tree.ts'

/** Null when it was reported as a problem. */
export function readSize(
  report: Report,
  tree: Tree,
  limits: { min: number; max: number; example: string },
): number | null {
  const { min, max, example } = limits
  const size = tree.kind === 'scalar' ? readBytes(tree.text) : null
  if (!size || tree.kind !== 'scalar') {
    const allowed = 'a number with k, Ki, M, Mi, G, Gi, T or Ti'
    wrong(report, tree, 'this is no size', { allowed, example })
    return null
  }
  if (size.value < min || size.value > max) {
    const allowed = `${bytesText(min)} to ${bytesText(max)}`
    wrong(report, tree, 'this size is out of bounds', { allowed, example })
    return null
  }
  if (size.better !== null)
    report.warn(tree.place, {
      message: `read as ${size.better} (${bytesText(size.value)}); Akash's CLI refuses this spelling`,
      found: shown(tree),
      example: size.better,
    })
  return size.value
}
