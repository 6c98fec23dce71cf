import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MAX_SDL_BYTES, parseYaml, pathOf, type Tree } from './yaml-tree.ts'

describe('parseYaml', () => {
  it('keeps numbers and booleans as they are written', () => {
    assert.deepEqual(plain('a: 0120\nb: yes\nc: "80"\nd: |\n  x\ne:\n'), {
      a: '0120',
      b: 'yes',
      c: '80',
      d: 'x\n',
      e: '',
    })
  })

  it('knows the path of every value', () => {
    const { tree } = parseYaml('services:\n  web:\n    expose: [{ port: 80 }]\n    "a.b c": 1\n')
    const paths: string[] = []
    walk(tree, (one) => paths.push(pathOf(one.place)))
    assert.ok(paths.includes('services.web.expose[0].port'))
    assert.ok(paths.includes('services.web["a.b c"]'))
  })

  it('follows anchors, aliases and merges; what is written out wins', () => {
    assert.deepEqual(plain('a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [{x: 7}, *a]}'), {
      a: { x: '1', y: '2' },
      b: { y: '3', x: '1' },
      c: { x: '7', y: '2' },
    })
    assert.deepEqual(plain('a: &a 1\nb: *a\nc: &a 2\nd: *a'), { a: '1', b: '1', c: '2', d: '2' })
  })

  it('refuses what YAML or Akash refuses', () => {
    for (const [text, why] of [
      ['a: 1\na: 2', /the key 'a' is written twice/],
      ['a: &a [*a]', /contains itself/],
      ['a: *b', /not known here/],
      ['a: !include x', /tag !include/],
      ['? [a]\n: b', /a key must be text/],
      ['a: {<<: 1}', /<< takes a mapping/],
      ['--\nversion: "2.0"', /implicit keys/],
      ['a: [1', /flow/],
    ] as const)
      assert.match(parseYaml(text).faults[0]?.message ?? '', why, text)
  })

  it('stops at its limits, soon, whatever the text', { timeout: 30_000 }, () => {
    const doubling = Array.from(
      { length: 9 },
      (_, i) =>
        `${name(i + 1)}: &${name(i + 1)} [${Array(9)
          .fill(`*${name(i)}`)
          .join(',')}]`,
    )
    const laughs = ['a: &a x', ...doubling].join('\n')
    const chain = Array.from({ length: 500 }, (_, i) => `k${i + 1}: &k${i + 1} [*k${i}]`)
    for (const [text, why] of [
      [laughs, /values, aliases expanded/],
      [['k0: &k0 x', ...chain].join('\n'), /nested deeper/],
      ['['.repeat(9_000), /nested deeper/],
      ['- '.repeat(4_000), /nested deeper/],
      ['a: '.repeat(4_000), /nested deeper/],
      ['x'.repeat(MAX_SDL_BYTES + 1), /bytes/],
      ['[,'.repeat(MAX_SDL_BYTES / 2), /words and signs/],
      ['\n'.repeat(MAX_SDL_BYTES), /words and signs/],
      ['*a '.repeat(MAX_SDL_BYTES / 3), /words and signs/],
    ] as const)
      assert.match(parseYaml(text).faults[0]?.message ?? '', why)
  })

  it('counts the documents of a file', () => {
    assert.equal(parseYaml('---\na: 1\n---\nb: 2\n').documents, 2)
    assert.equal(parseYaml('---\na: 1\n---\n').documents, 1)
  })
})

const name = (index: number): string => String.fromCharCode(97 + index)

function walk(tree: Tree, visit: (tree: Tree) => void): void {
  visit(tree)
  if (tree.kind === 'list') for (const item of tree.items) walk(item, visit)
  if (tree.kind === 'mapping') for (const value of tree.entries.values()) walk(value, visit)
}

/** The tree as plain values. */
function plain(text: string): unknown {
  const { tree, faults } = parseYaml(text)
  assert.deepEqual(faults, [])
  const of = (one: Tree): unknown => {
    if (one.kind === 'scalar') return one.text
    if (one.kind === 'list') return one.items.map(of)
    return Object.fromEntries([...one.entries].map(([key, value]) => [key, of(value)]))
  }
  return of(tree)
}
