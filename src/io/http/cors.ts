/**
 * Browsers may call a gateway from any page: a key in a header is the only credential, cookies play no part,
 * so there is nothing that a foreign page could borrow.
 */

/** On every response. `*` exposes all headers (x-request-id, x-baseload-…, retry-after, x-ratelimit-…) when no credentials mode is used. */
export const CORS_HEADERS = {
  'access-control-allow-origin': '*',
  'access-control-expose-headers': '*',
} as const

/** `CORS_HEADERS` as node:http takes a list. */
export const CORS_HEADER_LIST: readonly string[] = Object.entries(CORS_HEADERS).flat()

/** Answer to OPTIONS. `authorization` is named because `*` does not cover it. */
export const PREFLIGHT_HEADERS = {
  ...CORS_HEADERS,
  'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS',
  'access-control-allow-headers': 'authorization, content-type, *',
  'access-control-max-age': '7200',
} as const
