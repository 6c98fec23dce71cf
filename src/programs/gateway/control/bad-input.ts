/** What went wrong with a request, as a refusal that names the field. */
import type { z } from '@hono/zod-openapi'
import { HTTPException } from 'hono/http-exception'
import { Fault, refuse, type Refusal } from '../../../core/base/refusal.ts'

export const CONTROL_BODY_BYTES = 64 * 1024

/** The first of zod's issues; the others come up when it is repaired. */
export function refusalOfIssues(target: string, { issues }: z.ZodError): Refusal {
  const [issue] = issues
  if (!issue) return refuse('invalid_value', `The ${target} is not valid.`)
  const param = pathOf(issue.path) || target
  if (issue.code === 'unrecognized_keys') {
    const stray = pathOf([...issue.path, issue.keys[0] ?? '']).slice(0, 100)
    const why = `Unknown parameter: '${stray}'. See /openapi.json for what is understood.`
    return refuse('unknown_parameter', why, { param: stray })
  }
  if (issue.code === 'invalid_type' && issue.message.endsWith('received undefined'))
    return refuse('missing_parameter', `Missing required parameter: '${param}'.`, { param })
  return refuse('invalid_value', `'${param}' is not valid: ${issue.message}.`, { param })
}

/** Null for a thrown thing that no caller caused: then it is the gateway's own, and is logged. */
export function refusalOfThrown(thrown: unknown): Refusal | null {
  if (thrown instanceof HTTPException) {
    if (thrown.status === 413) return bodyTooLarge()
    if (thrown.status === 415)
      return refuse('not_acceptable', 'Send JSON, with the header content-type: application/json.')
    if (thrown.status < 500)
      return refuse('invalid_json', 'The request body is not JSON that can be read.')
  }
  if (thrown instanceof Fault && thrown.code === 'store_unavailable') {
    const why = 'The database does not answer. Requests for tokens go on; try this again shortly.'
    return refuse('store_unavailable', why, { retryAfterS: 2 })
  }
  return null
}

export const bodyTooLarge = (limitBytes = CONTROL_BODY_BYTES): Refusal =>
  refuse('request_too_large', `The request body is over ${limitBytes} bytes.`, {
    details: { limitBytes },
  })

/** ['limits', 'concurrency'] → limits.concurrency; ['scopes', 0] → scopes[0] */
function pathOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`
    return text === '' ? String(key) : `${text}.${String(key)}`
  }, '')
}
