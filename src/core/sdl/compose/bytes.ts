/** Sizes as docker-compose counts them. */
import { readScalar, wrong } from '../fields.ts'
import { readBytes } from '../quantity.ts'
import type { Report } from '../report.ts'
import type { Tree } from '../yaml-tree.ts'

/** In compose `512m` and `4GB` count in powers of 1024. */
export function readComposeBytes(report: Report, tree: Tree | undefined): number | null {
  const scalar = readScalar(report, tree)
  const [, number = '', unit = ''] = /^([\d.]+)\s*([kmgt]?)i?b?$/i.exec(scalar?.text ?? '') ?? []
  const size = number === '' ? null : readBytes(`${number}${unit === '' ? '' : `${unit}i`}`)
  if (scalar && !size) wrong(report, scalar, 'this is no size', { example: '512m' })
  return size?.value ?? null
}
