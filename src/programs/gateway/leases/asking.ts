/** Asking a node whether it takes a lease: the terms, the question, and the one answer that counts. */
import type { Millis } from '../../../core/base/time.ts'
import type { Group } from '../../../core/protocol/group.ts'
import { groupText, leaseText, type AcceptedLease } from '../../../core/protocol/lease.ts'
import { LEASE_DOMAIN, type LeaseReport } from '../../../core/protocol/lease-control.ts'
import { sha256Hex, verifySignature } from '../../../io/keys/identity.ts'
import type { NodeLink } from '../../../io/link/node-link.ts'
import type { LeaseRecord } from '../../../io/store/deployment-records.ts'
import type { Candidate } from './lease-market.ts'

/** A node's answer needs a look at its book and one signature. */
export const ANSWER_MS = 5_000

type Answer = Extract<LeaseReport, { kind: 'accepted' | 'refused' }>
/** The signed terms, or why there are none. */
export type Asked = AcceptedLease | { readonly why: string }

export class Asking {
  #open: {
    readonly node: string
    readonly epoch: number
    tell(answer: Answer | null): void
  } | null = null

  /** Resolves with the node's signed acceptance, or why there is none. */
  async ask(
    link: NodeLink,
    question: {
      record: LeaseRecord
      group: Group
      candidate: Candidate
      gateway: string
      at: Millis
    },
  ): Promise<Asked> {
    const { record, group } = question
    const { id, epoch } = record
    const terms = termsOf(link.node, question)
    const answer = await new Promise<Answer | null>((resolve) => {
      const tell = (said: Answer | null): void => {
        clearTimeout(timer)
        this.#open = null
        resolve(said)
      }
      const timer = setTimeout(() => tell(null), ANSWER_MS)
      this.#open = { node: link.node, epoch, tell }
      const { signed } = question.candidate
      link.lease({ kind: 'ask', lease: id, epoch, group, terms, ...(signed && { bid: signed }) })
    })
    if (answer === null) return { why: 'no answer came in time' }
    if (answer.kind === 'refused') return { why: answer.message }
    const { signature } = answer
    return verifySignature(link.nodeKey, LEASE_DOMAIN, terms, signature)
      ? { terms, signature }
      : { why: 'the acceptance is not signed by this node' }
  }

  /** False: nobody asked that, or not any more. */
  answer(link: NodeLink, answer: Answer): boolean {
    const open = this.#open
    if (open?.node !== link.node || open.epoch !== answer.epoch) return false
    open.tell(answer)
    return true
  }

  /** Whoever waits for an answer waits no longer. */
  drop(): void {
    this.#open?.tell(null)
  }
}

function termsOf(
  node: string,
  { record, group, candidate, gateway, at }: Parameters<Asking['ask']>[1],
): string {
  const { id, epoch, deployment, account } = record
  return leaseText({
    v: 1,
    id,
    epoch,
    deployment,
    tenant: account,
    node,
    gateway,
    groupHash: sha256Hex(groupText(group)),
    units: [...candidate.units],
    rate: String(candidate.bid.rate),
    noticeS: candidate.bid.noticeS,
    issuedAtMs: at,
    acceptByMs: at + ANSWER_MS,
  })
}
