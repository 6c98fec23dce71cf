/** A command line cut into words as a shell does, and joined again: docker-compose takes both. */

/** `sh -c "echo hi"` → sh, -c, echo hi. Quotes and backslashes as POSIX has them; nothing is expanded. */
export function shellWords(line: string): string[] {
  const words: string[] = []
  for (const [piece] of line.matchAll(
    /(?:[^\s'"\\]|\\[\s\S]|'[^']*'|"(?:[^"\\]|\\[\s\S])*"|['"\\])+/g,
  ))
    words.push(piece.replace(PART, unquoted))
  return words
}

const PART = /\\([\s\S])|'([^']*)'|"((?:[^"\\]|\\[\s\S])*)"/g

function unquoted(_: string, escaped?: string, single?: string, double?: string): string {
  return escaped ?? single ?? (double ?? '').replace(/\\(["\\$`])/g, '$1')
}
