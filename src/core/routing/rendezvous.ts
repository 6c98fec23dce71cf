/**
 * Rendezvous hashing (highest random weight, Thaler and Ravishankar 1998): everybody who knows the same names picks the same few
 * for a key, without asking anybody. A name that comes or goes moves only the keys that pick it.
 */

/** The `count` names with the highest weight for the key, highest first; all of them when there are no more. Names are distinct. */
export function pickByRendezvous(key: string, names: readonly string[], count: number): string[] {
  const weighed = names.map((name) => ({ name, weight: weightOf(key, name) }))
  // Equal weights must not depend on the order in which the names came.
  weighed.sort((a, b) => b.weight - a.weight || (a.name < b.name ? -1 : 1))
  return weighed.slice(0, Math.max(0, count)).map(({ name }) => name)
}

/** Uniform over [0, 2⁵³): 32-bit weights would tie once in a while among thousands of names. */
function weightOf(key: string, name: string): number {
  const text = `${key}\n${name}`
  return (hash(text, 0x811c9dc5) >>> 11) * 2 ** 32 + hash(text, 0x9e3779b9)
}

/** FNV-1a from an own offset, and MurmurHash3's finalizer, without which names that differ in their last letter are neighbours. */
function hash(text: string, offset: number): number {
  let h = offset
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
