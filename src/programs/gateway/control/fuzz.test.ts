/** Whatever comes in, the control API answers with a success or a refusal, never with a fault of its own. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { NODE, setupControl } from './test-network.ts'

const timeout = 60_000

const BODIES = [
  ['POST', '/v1/keys', ['name', 'scopes', 'limits', 'budget_usd', 'expires_at']],
  ['PATCH', '/v1/keys/key_1', ['name', 'scopes', 'limits', 'budget_usd', 'expires_at']],
  ['POST', '/v1/accounts', ['name', 'limits']],
  ['POST', '/v1/accounts/acct_1/credits', ['amount_usd', 'idempotency_key', 'note']],
  ['PATCH', `/v1/network/nodes/${NODE}`, ['tier']],
] as const

describe('anything over HTTP', () => {
  it('any body is understood or refused', { timeout }, async () => {
    const { ask, operators } = await setupControl()
    for (const [method, path, fields] of BODIES) {
      const likely = fc.dictionary(fc.constantFrom(...fields), fc.jsonValue(), { maxKeys: 5 })
      const json = fc.oneof(likely, fc.jsonValue()).map((value) => JSON.stringify(value))
      await fc.assert(
        fc.asyncProperty(fc.oneof(json, fc.string({ minLength: 1 })), async (body) => {
          const { status } = await ask(operators.secret, method, path, body)
          assert.ok(status < 500, `${status} for ${body}`)
        }),
        { numRuns: 100 },
      )
    }
  })

  it('any path, query and key is answered or refused', { timeout }, async () => {
    const { api } = await setupControl()
    const part = fc.oneof(
      fc.constantFrom('v1', 'keys', 'network', 'nodes', '..', '%', '%E0%A4'),
      fc.webSegment(),
    )
    const path = fc.array(part, { maxLength: 6 }).map((parts) => `/${parts.join('/')}`)
    const query = fc.oneof(
      fc.webQueryParameters(),
      fc.constantFrom('limit=-1', 'limit=x', 'after=%'),
    )
    const method = fc.constantFrom('GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS')
    const key = fc.stringMatching(/^[ -~]{0,300}$/)
    await fc.assert(
      fc.asyncProperty(method, path, query, key, async (verb, at, asked, authorization) => {
        const url = `http://gateway.test${at}?${asked}`
        const init = { method: verb, headers: { authorization } }
        const { status } = await api.fetch(new Request(url, init))
        assert.ok(status < 500, `${status} for ${verb} ${url}`)
      }),
      { numRuns: 500 },
    )
  })
})
