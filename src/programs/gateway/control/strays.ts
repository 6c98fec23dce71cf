/** Requests that meet no route: the wrong method, or a path that is close to a real one. */
import { refuse, type Refusal } from '../../../core/base/refusal.ts'
import { nearNames } from '../../../core/routing/near-names.ts'

/** `/v1/keys/{id}` → its methods, upper case. */
export type RouteTable = ReadonlyMap<string, readonly string[]>

export function routeTable(routes: readonly { path: string; method: string }[]): RouteTable {
  const table = new Map<string, string[]>()
  for (const { path, method } of routes)
    table.set(path, [...(table.get(path) ?? []), method.toUpperCase()])
  return table
}

/** `allow` is null when no route has this path. */
export function strayRefusal(
  table: RouteTable,
  method: string,
  path: string,
): { refusal: Refusal; allow: string | null } {
  const shown = path.slice(0, 200)
  const methods = [...table].find(([pattern]) => matches(pattern, path))?.[1]
  if (methods) {
    const allow = [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ')
    const why = `${method} is not offered at ${shown}; it takes ${methods.join(', ')}.`
    return { refusal: refuse('method_not_allowed', why, { details: { allow } }), allow }
  }
  const near = nearNames(path, [...table.keys()])
  const hint = near.length > 0 ? ` Did you mean ${near.join(' or ')}?` : ''
  const why = `Nothing is at ${shown}.${hint} GET /openapi.json describes every route.`
  return { refusal: refuse('not_found', why, { details: { near: near.join(', ') } }), allow: null }
}

function matches(pattern: string, path: string): boolean {
  const want = pattern.split('/')
  const have = path.split('/')
  return (
    want.length === have.length &&
    want.every((part, i) => (part.startsWith('{') ? have[i] !== '' : part === have[i]))
  )
}
