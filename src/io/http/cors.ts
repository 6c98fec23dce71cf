/**
 * Browsers may call a gateway from any page: a key in a header is the only credential, cookies play no part,
 * so there is nothing that a foreign page could borrow.
 */

/** On every response. `*` exposes all headers (x-request-id, x-baseload-…, retry-after, x-ratelimit-…) when no credentials mode is used. */
export const CORS_HEADERS = {
  'access-control-allow-origin': '*',
  'access-control-expose-headers': '*',
} as const

/** Answer to OPTIONS. `authorization` is named because `*` does not cover it. */
export const PREFLIGHT_HEADERS = {
  ...CORS_HEADERS,
  'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS',
  'access-control-allow-headers': 'authorization, content-type, *',
  'access-control-max-age': '7200',
} as const
