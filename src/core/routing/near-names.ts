/** Names that somebody may have meant: a few edits away, or holding what was written. */

const MAX_NEAR = 3
/** Names compared at most: the answer to a typo may not cost more than the request. */
const MAX_COMPARED = 2000
/** Longer names are only compared whole: edit distance costs the product of the lengths. */
const MAX_EDITED = 64

/** The nearest known names, best first; none when nothing is near. */
export function nearNames(wanted: string, known: readonly string[]): string[] {
  const name = wanted.slice(0, 200).toLowerCase()
  const allowed = Math.min(3, Math.floor(name.length / 3))
  return known
    .slice(0, MAX_COMPARED)
    .map((one) => ({ one, distance: nearness(name, one.toLowerCase(), allowed) }))
    .filter(({ distance }) => distance <= allowed)
    .toSorted((a, b) => a.distance - b.distance)
    .slice(0, MAX_NEAR)
    .map(({ one }) => one)
}

function nearness(name: string, other: string, allowed: number): number {
  if (name.length >= 4 && other.includes(name)) return 1
  const lengths = Math.abs(name.length - other.length)
  if (lengths > allowed || name.length > MAX_EDITED) return Infinity
  return editDistance(name, other)
}

/** Levenshtein's distance, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + Number(a[i - 1] !== b[j - 1])
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
