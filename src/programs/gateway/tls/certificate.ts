/** A certificate with its key, as handshakes use it. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { createSecureContext, type SecureContext } from 'node:tls'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'

/** PEM: the certificate with what links it to a root, and the private key. */
export type Pem = { readonly cert: string; readonly key: string }

export class Certificate {
  readonly pem: Pem
  readonly notBefore: Millis
  readonly notAfter: Millis
  readonly #leaf: X509Certificate
  #context: SecureContext | null = null

  /** Throws Fault `certificate_invalid` when it is none, or the key is another's. */
  constructor(pem: Pem) {
    this.pem = pem
    try {
      this.#leaf = new X509Certificate(pem.cert)
      if (!this.#leaf.checkPrivateKey(createPrivateKey(pem.key)))
        throw new Error('the key is not that of the certificate')
    } catch (cause) {
      throw new Fault('certificate_invalid', reasonOf(cause), { cause })
    }
    this.notBefore = Date.parse(this.#leaf.validFrom)
    this.notAfter = Date.parse(this.#leaf.validTo)
  }

  /** Whether it is for this host; `*.example` covers one label more. */
  covers(name: string): boolean {
    return this.#leaf.checkHost(name, { subject: 'never' }) !== undefined
  }

  /** Made when it is first needed: it costs some tens of kilobytes. */
  get context(): SecureContext {
    this.#context ??= createSecureContext({ ...this.pem, minVersion: 'TLSv1.2' })
    return this.#context
  }
}
