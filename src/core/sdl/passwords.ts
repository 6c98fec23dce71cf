/** Registry passwords out of an SDL file, so that the rest of it may go to a gateway. */
import { isScalar, parseDocument, visit } from 'yaml'
import { SEALED_PASSWORD } from '../protocol/secrets.ts'
import type { Manifest } from '../protocol/manifest.ts'
import { readSdl, type Sdl } from './sdl.ts'

export type TakenPasswords = {
  /** The file as it was, with `SEALED_PASSWORD` for each password. */
  readonly text: string
  /** By service. */
  readonly passwords: ReadonlyMap<string, string>
}

/** A text that is as long and stands anywhere else in the file is no coincidence. */
const TELLING_LENGTH = 6

/**
 * `sdl` is what `text` was read as. `why`: where the passwords cannot be told from the rest of the file, e.g. one that an
 * anchor shares with a variable, or that stands in a comment as well.
 */
export function takePasswords(text: string, sdl: Sdl): TakenPasswords | { readonly why: string } {
  const passwords = new Map<string, string>()
  const offsets = new Set<number>()
  for (const [name, { credentials }] of sdl.document.services) {
    if (!credentials || credentials.password === SEALED_PASSWORD) continue
    passwords.set(name, credentials.password)
    offsets.add(credentials.passwordPlace.offset)
  }
  if (passwords.size === 0) return { text, passwords }
  const without = replaced(text, offsets)
  for (const [service, password] of passwords) {
    const line = lineWith(without, password)
    if (line !== null)
      return { why: `the registry password of '${service}' also stands in line ${line}` }
  }
  const again = readSdl(without, 'sdl')
  const wanted = JSON.stringify(sdl.manifests.map(withMarkers))
  if (!('sdl' in again) || JSON.stringify(again.sdl.manifests) !== wanted)
    return { why: 'a registry password is part of something else in the file as well' }
  return { text: without, passwords }
}

function replaced(text: string, offsets: ReadonlySet<number>): string {
  const spans: (readonly [from: number, to: number])[] = []
  visit(parseDocument(text, { schema: 'failsafe', uniqueKeys: false, logLevel: 'silent' }), {
    Scalar: (_key, node) => {
      const [from, to] = (isScalar(node) && node.range) || [-1, -1]
      if (offsets.has(from)) spans.push([from, to])
    },
  })
  let without = text
  for (const [from, to] of spans.toSorted(([a], [b]) => b - a)) {
    const ending = text.slice(from, to).endsWith('\n') ? '\n' : ''
    without = without.slice(0, from) + SEALED_PASSWORD + ending + without.slice(to)
  }
  return without
}

/** Counted from 1; null: nowhere. */
function lineWith(text: string, password: string): number | null {
  if (password.length < TELLING_LENGTH) return null
  const at = text.indexOf(password)
  return at < 0 ? null : text.slice(0, at).split('\n').length
}

const withMarkers = (manifest: Manifest): Manifest => ({
  ...manifest,
  services: manifest.services.map((service) => ({
    ...service,
    credentials: service.credentials && { ...service.credentials, password: SEALED_PASSWORD },
  })),
})
