/**
 * Large things that a gateway keeps for its tenants. A name has parts divided by `/`, each of letters, digits, `_`, `.`
 * and `-`. What is written appears whole or not at all. `object-store.test.ts` is what each implementation holds to.
 */
import type { Readable } from 'node:stream'
import { Fault } from '../../core/base/refusal.ts'

export type ObjectStore = {
  /** Where it is, for people and records: the same text for the same place, and never a secret. */
  readonly place: string
  /** Writes, reads, lists and removes a small object. Throws what stands in the way. */
  check(): Promise<void>
  /**
   * Resolves with its size when all of it is kept; what had the name before is replaced. Throws Fault `object_too_large`
   * above the limit, Fault `objects_unavailable` or `objects_refused`, or what broke `body`: then nothing changed.
   */
  put(name: string, body: Readable, limitBytes: number): Promise<number>
  /** Null: there is no such thing. The stream breaks with an error where it would end too early. */
  get(name: string): Promise<Readable | null>
  /** All whose name is `name` or begins with its parts, in order of their names. */
  list(name: string): Promise<StoredObject[]>
  /** Nothing of it is left, nor of what an interrupted `put` began under that name. None there is fine. */
  remove(name: string): Promise<void>
}
export type StoredObject = { readonly name: string; readonly bytes: number }

const PART = /^[\w-][\w.-]{0,199}$/

/** Its parts. RangeError: the caller's bug; names are never made of what a tenant says. */
export function partsOf(name: string): string[] {
  const parts = name.split('/')
  const wrong = parts.find((part) => !PART.test(part))
  if (wrong !== undefined) throw new RangeError(`'${wrong}' cannot be part of an object's name`)
  return parts
}

export const tooLarge = (name: string, limitBytes: number): Fault =>
  new Fault('object_too_large', `${name} is over its limit of ${limitBytes} bytes`)
