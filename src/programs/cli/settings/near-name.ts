/** "Did you mean …?": the known name nearest to what was typed, or null when nothing is near. */
export function nearName(typed: string, known: readonly string[]): string | null {
  // Two swapped letters are two edits; a short name has few letters to go by.
  const limit = Math.max(typed.length > 3 ? 2 : 1, Math.floor(typed.length / 3))
  let best: { name: string; distance: number } | null = null
  for (const name of known) {
    const distance = editDistance(plain(typed), plain(name))
    if (distance <= limit && distance < (best?.distance ?? Infinity)) best = { name, distance }
  }
  return best?.name ?? null
}

const plain = (name: string): string => name.toLowerCase().replace(/[-_]/g, '')

/** Levenshtein distance, one row at a time. */
function editDistance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const replace = (above[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1)
      current.push(Math.min(replace, (above[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1))
    }
    above = current
  }
  return above[b.length] ?? 0
}
