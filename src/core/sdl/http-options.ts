/** `http_options` of an exposed port. Zero means the default, as in Akash's Go parser. */
import { HTTP_FAILURES, type HttpOptions } from '../protocol/manifest.ts'
import { readList, readMapping, readText, readWhole, wrong } from './fields.ts'
import type { Report } from './report.ts'
import type { Tree } from './yaml-tree.ts'

const MAX_BODY_BYTES = 100 * 2 ** 20
const MAX_BUFFER_BYTES = 2 ** 20
const MAX_TIMEOUT_MS = 60_000
const MAX_UINT32 = 2 ** 32 - 1

export const HTTP_DEFAULTS: HttpOptions = {
  maxBodyBytes: 2 ** 20,
  readTimeoutMs: MAX_TIMEOUT_MS,
  sendTimeoutMs: MAX_TIMEOUT_MS,
  nextTries: 3,
  nextTimeoutMs: 0,
  nextCases: ['error', 'timeout'],
  proxyBufferBytes: null,
}

const KEYS = [
  'max_body_size',
  'proxy_buffer_size',
  'read_timeout',
  'send_timeout',
  'next_tries',
  'next_timeout',
  'next_cases',
]

export function readHttpOptions(report: Report, tree: Tree | undefined): HttpOptions {
  const options = tree && readMapping(report, tree, { known: KEYS })
  if (!options) return HTTP_DEFAULTS
  const whole = (key: string, max: number) =>
    readWhole(report, options.entries.get(key), { min: 0, max, example: `${key}: ${max}` }) ?? 0
  const defaults = HTTP_DEFAULTS
  return {
    maxBodyBytes: whole('max_body_size', MAX_BODY_BYTES) || defaults.maxBodyBytes,
    readTimeoutMs: whole('read_timeout', MAX_TIMEOUT_MS) || defaults.readTimeoutMs,
    sendTimeoutMs: whole('send_timeout', MAX_TIMEOUT_MS) || defaults.sendTimeoutMs,
    nextTries: whole('next_tries', MAX_UINT32) || defaults.nextTries,
    nextTimeoutMs: whole('next_timeout', MAX_UINT32),
    nextCases: readNextCases(report, options.entries.get('next_cases')),
    proxyBufferBytes: whole('proxy_buffer_size', MAX_BUFFER_BYTES) || null,
  }
}

function readNextCases(report: Report, tree: Tree | undefined): HttpOptions['nextCases'] {
  const cases = readList(report, tree).flatMap((item) => {
    const text = readText(report, item)
    const known = HTTP_FAILURES.find((name) => name === text)
    if (known) return [known]
    wrong(report, item, 'this is no case for trying the next copy', {
      allowed: HTTP_FAILURES.join(', '),
      example: 'next_cases: [error, timeout, "502"]',
    })
    return []
  })
  if (tree && cases.includes('off') && cases.length > 1)
    wrong(report, tree, "'off' stands alone", { example: 'next_cases: ["off"]' })
  return cases.length === 0 ? HTTP_DEFAULTS.nextCases : cases
}
