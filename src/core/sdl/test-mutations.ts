/** For tests: SDL files gone wrong in the ways of people and editors, drawn from a seed. */
import type { Random } from '../base/random.ts'

/** Words that some parser has stumbled over. */
const NASTY = [
  '~',
  'null',
  'yes',
  'off',
  '"80"',
  '80.5',
  '-1',
  '0x50',
  '0120',
  '1e999',
  '4GB',
  '1gi',
  'Ei',
  '.inf',
  '2024-01-01',
  '[]',
  '{}',
  '[[]]',
  '{ a: 1 }',
  '""',
  "'",
  '"',
  '|',
  '>-',
  '&a x',
  '*a',
  '<<: *a',
  '!!str 1',
  '!x y',
  '%YAML 1.1',
  '---',
  '...',
  '#',
  ': ',
  '- ',
  '\t',
  '\u0000',
  '\u{1f600}',
  '__proto__',
  'constructor',
  '9'.repeat(400),
  'x'.repeat(5000),
] as const

type Change = (lines: string[], random: Random, others: readonly string[]) => void

const pick = <T>(list: readonly T[], random: Random): T | undefined =>
  list[Math.floor(random() * list.length)]
const place = (lines: readonly string[], random: Random): number =>
  Math.floor(random() * lines.length)
const at = (lines: readonly string[], index: number): string => lines[index] ?? ''

const CHANGES: readonly Change[] = [
  (lines, random) => void lines.splice(place(lines, random), 1 + Math.floor(random() * 4)),
  (lines, random) => {
    const index = place(lines, random)
    lines.splice(place(lines, random), 0, at(lines, index))
  },
  (lines, random) => {
    const [a, b] = [place(lines, random), place(lines, random)]
    ;[lines[a], lines[b]] = [at(lines, b), at(lines, a)]
  },
  // Indentation, one or two spaces more or less.
  (lines, random) => {
    const index = place(lines, random)
    const line = at(lines, index)
    lines[index] =
      random() < 0.5 ? `${' '.repeat(1 + random() * 3)}${line}` : line.slice(1 + random() * 2)
  },
  // Another value.
  (lines, random) => {
    const index = place(lines, random)
    lines[index] = at(lines, index).replace(
      /(:|-)(\s.*)?$/,
      (_, sign: string) => `${sign} ${pick(NASTY, random)}`,
    )
  },
  // Another key.
  (lines, random) => {
    const index = place(lines, random)
    lines[index] = at(lines, index).replace(/[\w-]+:/, () => `${pick(NASTY, random)}:`)
  },
  // A few characters, gone or put in.
  (lines, random) => {
    const index = place(lines, random)
    const line = at(lines, index)
    const cut = Math.floor(random() * line.length)
    const put = random() < 0.5 ? '' : (pick(NASTY, random) ?? '')
    lines[index] = line.slice(0, cut) + put + line.slice(cut + Math.floor(random() * 4))
  },
  // Digits.
  (lines, random) => {
    const index = place(lines, random)
    lines[index] = at(lines, index).replace(/\d+/, () => String(Math.floor(random() * 2 ** 40)))
  },
  // A piece of another file.
  (lines, random, others) => {
    const other = (pick(others, random) ?? '').split('\n')
    const from = place(other, random)
    lines.splice(
      place(lines, random),
      0,
      ...other.slice(from, from + 1 + Math.floor(random() * 12)),
    )
  },
]

/** One to four changes to one of the files. */
export function mutated(files: readonly string[], random: Random): string {
  const lines = (pick(files, random) ?? '').split('\n')
  for (let left = 1 + Math.floor(random() * 4); left > 0; left--)
    pick(CHANGES, random)?.(lines, random, files)
  return lines.join('\n')
}
