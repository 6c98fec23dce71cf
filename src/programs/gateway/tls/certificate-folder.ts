/** What the gateway got from a certificate authority, as files that only their owner can read: the account's key, certificates. */
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { reasonOf } from '../../../core/base/refusal.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import { Certificate, type Pem } from './certificate.ts'

const ACCOUNT = 'account.key'
/** Behind a host name; the file holds key and chain, so that one write replaces both. */
const SUFFIX = '.pem'
const BLOCK = /-----BEGIN ([A-Z ]+)-----[\s\S]+?-----END \1-----\n?/g

export class CertificateFolder {
  readonly #path: string

  constructor(path: string) {
    this.#path = path
    mkdirSync(path, { recursive: true, mode: 0o700 })
    chmodSync(path, 0o700)
  }

  /** The account's key, PEM; null before there is one. */
  accountKey(): string | null {
    try {
      return readFileSync(join(this.#path, ACCOUNT), 'utf8')
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
      throw error
    }
  }

  saveAccountKey(pem: string): void {
    this.#write(ACCOUNT, pem)
  }

  /** Those that can still be read, by host name. */
  load(logger: Logger): Map<string, Certificate> {
    const all = new Map<string, Certificate>()
    for (const file of readdirSync(this.#path).filter((name) => name.endsWith(SUFFIX))) {
      try {
        const pem = split(readFileSync(join(this.#path, file), 'utf8'))
        all.set(file.slice(0, -SUFFIX.length), new Certificate(pem))
      } catch (error) {
        logger.warn('certificate not read', { file, why: reasonOf(error) })
      }
    }
    return all
  }

  /** `name` is a host name: it has no slash, and does not begin with a dot. */
  save(name: string, { cert, key }: Pem): void {
    this.#write(`${name}${SUFFIX}`, `${key.trimEnd()}\n${cert.trimEnd()}\n`)
  }

  remove(name: string): void {
    rmSync(join(this.#path, `${name}${SUFFIX}`), { force: true })
  }

  /** Whole or not at all. */
  #write(file: string, text: string): void {
    const path = join(this.#path, file)
    writeFileSync(`${path}.new`, text, { mode: 0o600 })
    renameSync(`${path}.new`, path)
  }
}

function split(text: string): Pem {
  const blocks = [...text.matchAll(BLOCK)].map(([block, kind = '']) => ({ block, kind }))
  const of = (wanted: (kind: string) => boolean): string =>
    blocks.flatMap(({ block, kind }) => (wanted(kind) ? [block] : [])).join('')
  return { cert: of((kind) => kind === 'CERTIFICATE'), key: of((kind) => kind.endsWith('KEY')) }
}
