/** Certificates that the operator keeps as files, read again when they change: whoever renews them tells nobody. */
import { readFileSync } from 'node:fs'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import { Certificate, type Pem } from './certificate.ts'

export type CertificateFile = { readonly cert: string; readonly key: string }

type Held = { readonly file: CertificateFile; certificate: Certificate; warned: string | null }

export class CertificateFiles {
  readonly #held: readonly Held[]
  readonly #logger: Logger

  /** Throws Fault `certificate_invalid`, which names the file. */
  constructor(files: readonly CertificateFile[], logger: Logger) {
    this.#logger = logger
    this.#held = files.map((file) => ({ file, certificate: open(file), warned: null }))
  }

  /** For who names no host, or one that no certificate is for. */
  get first(): Certificate | null {
    return this.#held[0]?.certificate ?? null
  }

  find(name: string): Certificate | null {
    return this.#held.find(({ certificate }) => certificate.covers(name))?.certificate ?? null
  }

  /** What changed is used from now on; what cannot be used is told once, and the old one stays. True: the first changed. */
  reload(): boolean {
    const before = this.first
    for (const held of this.#held) this.#reloadOne(held)
    return this.first !== before
  }

  #reloadOne(held: Held): void {
    const { cert } = held.file
    try {
      const pem = read(held.file)
      const { pem: old } = held.certificate
      if (pem.cert !== old.cert || pem.key !== old.key) {
        held.certificate = new Certificate(pem)
        this.#logger.info('certificate reloaded', { file: cert })
      }
      held.warned = null
    } catch (error) {
      // Certificate and key are two files: between the writes of one and the other they do not fit.
      const why = reasonOf(error)
      if (held.warned !== why) this.#logger.warn('certificate not reloaded', { file: cert, why })
      held.warned = why
    }
  }
}

function open(file: CertificateFile): Certificate {
  try {
    return new Certificate(read(file))
  } catch (cause) {
    const message = `cannot use the certificate ${file.cert} with the key ${file.key}: ${reasonOf(cause)}`
    throw new Fault('certificate_invalid', message, { cause })
  }
}

const read = ({ cert, key }: CertificateFile): Pem => ({
  cert: readFileSync(cert, 'utf8'),
  key: readFileSync(key, 'utf8'),
})
