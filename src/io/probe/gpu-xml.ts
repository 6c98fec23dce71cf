/**
 * As much of XML as `nvidia-smi -q -x` writes: elements, one attribute and text. No entities, comments with tags in
 * them, or CDATA; linear in the length of the text.
 */
import { MAX_TOOL_CHARS } from './gpu.ts'

export type XmlElement = {
  readonly name: string
  /** Without markup, trimmed; empty where there are elements inside. */
  text: string
  readonly children: XmlElement[]
}

const MAX_DEPTH = 32
/** Eight GPUs have about 4,000, each process on them five more. */
const MAX_ELEMENTS = 200_000

/** Null for what is cut off, crossed or beyond the limits: half an answer is none. */
export function readXml(text: string): XmlElement | null {
  if (text.length > MAX_TOOL_CHARS) return null
  const top: XmlElement = { name: '', text: '', children: [] }
  const open = [top]
  let elements = 0
  let textStart = 0
  for (const { 0: tag, 1: slash, 2: inside = '', index } of text.matchAll(
    /<(\/?)([a-z_][^<>]*)>/gi,
  )) {
    const current = open.at(-1) ?? top
    const [name = ''] = inside.split(/[\s/]/, 1)
    if (slash === '/') {
      if (current === top || current.name !== name) return null
      if (current.children.length === 0) current.text = text.slice(textStart, index).trim()
      open.pop()
    } else {
      const child: XmlElement = { name, text: '', children: [] }
      current.children.push(child)
      if (!inside.endsWith('/')) open.push(child)
      if (open.length > MAX_DEPTH || ++elements > MAX_ELEMENTS) return null
    }
    textStart = index + tag.length
  }
  return open.length === 1 && top.children.length === 1 ? (top.children[0] ?? null) : null
}

export const childrenOf = (element: XmlElement, name: string): XmlElement[] =>
  element.children.filter((one) => one.name === name)

/** Text of the first element down this path; empty where there is none. */
export function textAt(element: XmlElement, ...path: readonly string[]): string {
  let current: XmlElement | undefined = element
  for (const name of path) current = current?.children.find((one) => one.name === name)
  return current?.text ?? ''
}
