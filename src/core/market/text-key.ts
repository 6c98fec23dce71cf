/**
 * A short name for a long text: 64 bits in base 36, two rounds of MurmurHash3's mixing (Austin Appleby, public
 * domain) side by side. For tables, never for secrets: who searches long enough finds two texts with one key.
 */
export function textKey(text: string): string {
  let [a, b] = [0x9747b28c, 0x1b873593]
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    a = Math.imul(a ^ unit, 0xcc9e2d51)
    a = (a << 15) | (a >>> 17)
    b = Math.imul(b ^ unit, 0x85ebca6b)
    b = (b << 13) | (b >>> 19)
  }
  return `${finish(a).toString(36)}${finish(b).toString(36).padStart(7, '0')}`
}

function finish(value: number): number {
  let h = value
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
