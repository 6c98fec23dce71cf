/**
 * How a node tells which images it holds without naming them: by a mark, a short hash that also takes in the gateway it is
 * told to. Who knows a name can look for it, as a gateway does with those that a tenant asks for; nobody can list names,
 * and two gateways cannot compare what they were told. Marks may collide: they only rank bids.
 */

/** The images that matter for speed, not the whole disk: the newest. */
export const MAX_IMAGE_MARKS = 256
/** 48 bits. */
export const IMAGE_MARK = /^[0-9a-f]{12}$/

const DOMAIN = 'baseload image v1\n'

export const imageMark = (
  gateway: string,
  reference: string,
  sha256Hex: (text: string) => string,
): string => sha256Hex(`${DOMAIN}${gateway}\n${fullReference(reference)}`).slice(0, 12)

/** `nginx` → `docker.io/library/nginx:latest`: engines and tenants write the same image in several ways. */
export function fullReference(reference: string): string {
  const slash = reference.indexOf('/')
  const first = reference.slice(0, Math.max(0, slash))
  const hasHost = /[.:]/.test(first) || first === 'localhost'
  const host = !hasHost || first === 'index.docker.io' ? 'docker.io' : first
  const rest = hasHost ? reference.slice(slash + 1) : reference
  const path = host === 'docker.io' && !rest.includes('/') ? `library/${rest}` : rest
  const [named = '', digest] = path.split('@')
  const name = named.replace(/:[^/:]*$/, '')
  // Of a tag beside a digest engines take no notice.
  if (digest !== undefined) return `${host}/${name}@${digest}`
  return `${host}/${named === name ? `${name}:latest` : named}`
}
