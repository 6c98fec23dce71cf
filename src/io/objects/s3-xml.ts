/** The little XML that S3 answers with: flat elements by name. Anything that nests deeper is not read. */

/** The text of the first element of this name; null: there is none. */
export function textIn(xml: string, name: string): string | null {
  return textsIn(xml, name)[0] ?? null
}

/** The contents of all elements of this name, which do not hold one another. */
export function textsIn(xml: string, name: string): string[] {
  const element = new RegExp(`<${name}(?:\\s[^>]*)?>([^]*?)</${name}>`, 'g')
  return [...xml.matchAll(element)].map(([, inner = '']) => plain(inner))
}

/** With its elements still in it: for `textIn`. */
export function elementsIn(xml: string, name: string): string[] {
  const element = new RegExp(`<${name}(?:\\s[^>]*)?>([^]*?)</${name}>`, 'g')
  return [...xml.matchAll(element)].map(([, inner = '']) => inner)
}

const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
}

function plain(text: string): string {
  return text.replace(
    /&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|(\w{2,4}));/gi,
    (whole, decimal, hex, name) => {
      const code = decimal ? Number(decimal) : hex ? Number.parseInt(String(hex), 16) : null
      if (code !== null) return code <= 0x10ffff ? String.fromCodePoint(code) : whole
      return ENTITIES[String(name)] ?? whole
    },
  )
}

export const escaped = (text: string): string =>
  text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)
