/** The other gateways over this store: vouched for, and shown to nodes, so that leases outlive the gateway that made them. */
import { KIN_DOMAIN, kinText, type KinProof } from '../../../core/protocol/kin.ts'
import type { Millis } from '../../../core/base/time.ts'
import type { Identity } from '../../../io/keys/identity.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import type { Store } from '../../../io/store/store.ts'

export class Kin {
  readonly #identity: Identity
  readonly #store: Pick<Store, 'meetGateways' | 'vouchFor'>
  #proofs: readonly KinProof[] = []

  constructor(identity: Identity, store: Pick<Store, 'meetGateways' | 'vouchFor'>) {
    this.#identity = identity
    this.#store = store
  }

  /** Vouches for those who are new. True when others have vouched for this one since. */
  async meet(now: Millis): Promise<boolean> {
    const { id, publicKey, sign } = this.#identity
    const { strangers, proofs } = await this.#store.meetGateways(id, publicKey, now)
    for (const kin of strangers)
      await this.#store.vouchFor(id, kin, sign(KIN_DOMAIN, kinText(id, kin)))
    const isNew = proofs.length !== this.#proofs.length
    this.#proofs = proofs
    return isNew
  }

  /** Before anything is asked of the node that only kin may ask. */
  tell(link: NodeLink): void {
    if (link.offer.leases && this.#proofs.length > 0)
      link.lease({ kind: 'kin', proofs: [...this.#proofs] })
  }
}
