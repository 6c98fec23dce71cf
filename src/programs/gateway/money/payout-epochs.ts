/**
 * Payouts at work: epoch after epoch what nodes earned leaves the ledger for the chain.
 *
 *   open ─► closed, in one transaction with its leaves and chain actions ─► funded, root posted ─► pending for the
 *   challenge window; challenges are answered with proofs ─► counts ─► claims, by providers or pushed by us
 *
 * Gateways over one database may all run this: who closes first closes, and an action's purpose makes it happen once.
 */
import type { PublicClient } from 'viem'
import type { Address } from '../../../core/base/hex.ts'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import { payoutTree, type PayoutTree } from '../../../io/chain/payout-tree.ts'
import {
  answerCall,
  approveCall,
  bondCall,
  claimCall,
  fundCall,
  readOpenChallenges,
  readPaidTo,
  readPayoutState,
  readPayoutTerms,
  readToken,
  rootCall,
  type PayoutCall,
  type PayoutState,
  type PayoutTerms,
} from '../../../io/chain/payouts-contract.ts'
import type { PayoutEpoch } from '../../../io/store/payout-records.ts'
import type { Store } from '../../../io/store/store.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import { nextPayoutStep } from './payout-plan.ts'

/** What payouts need of gateway/money/chain.ts's `Chain`. */
export type PayoutChain = {
  readonly chainId: number
  readonly addresses: { readonly token: Address; readonly payouts: Address }
  readonly token: { readonly decimals: number; readonly symbol: string }
  readonly operator: Address
  readonly testMoney: boolean
  readonly client: PublicClient
  /** Actions were written. */
  wake(): void
}

export type PayoutSettings = {
  readonly epochMs: Millis
  readonly feeBps: number
  /** Claim for providers who are owed so much at least; null: they claim themselves. */
  readonly pushClaimsFromUnits: bigint | null
}

export type EpochParts = {
  readonly store: Store
  readonly chain: PayoutChain
  readonly settings: PayoutSettings
  readonly now: () => Millis
  readonly logger: Logger
  /** The wallet is short: whoever claims from channels does it now. */
  readonly wantTokens?: () => void
  readonly everyMs?: Millis
}

export type PayoutStatus = {
  /** Why nothing happens just now; null before the first look. */
  readonly waiting: string | null
  readonly state: PayoutState | null
  readonly terms: PayoutTerms | null
  readonly wallet: { readonly balanceUnits: bigint; readonly allowanceUnits: bigint } | null
  /** Challenges that the root cannot answer: it owes less than was signed. Always none, unless somebody has the key. */
  readonly unanswerable: readonly { readonly provider: Address; readonly owedUnits: bigint }[]
}

const LOOK_EVERY_MS = 15_000
/** USDC's: a unit is a thousand nano-dollars. */
const DECIMALS = 6
/** Providers looked at, and claims written, in one round. */
const MAX_CLAIMS_A_ROUND = 50
/** Where no block is known in which the root was posted: a day and more of a chain with blocks of two seconds. */
const LOOK_BACK_BLOCKS = 50_000n
/** Of the root that counts, the one that pends, and one that somebody asks about; a leaf has about 500 bytes. */
const MAX_TREES = 3
const KINDS = ['payout-approve', 'payout-bond', 'payout-fund', 'payout-root'] as const

export class PayoutEpochs {
  readonly #parts: EpochParts
  readonly #timer: NodeJS.Timeout
  #terms: PayoutTerms | null = null
  #status: PayoutStatus = {
    waiting: null,
    state: null,
    terms: null,
    wallet: null,
    unanswerable: [],
  }
  /** The last used last. */
  readonly #trees = new Map<number, Promise<PayoutTree>>()
  #claimsFrom = 0
  #running: Promise<void> | null = null
  #closed = false

  constructor(parts: EpochParts) {
    if (parts.chain.token.decimals !== DECIMALS)
      throw new Fault(
        'config_invalid',
        `payouts need a token of ${DECIMALS} decimals that is worth a dollar; ${parts.chain.token.symbol} has ${parts.chain.token.decimals}`,
      )
    this.#parts = parts
    this.#timer = setInterval(() => this.wake(), parts.everyMs ?? LOOK_EVERY_MS)
    this.#timer.unref()
  }

  get status(): PayoutStatus {
    return this.#status
  }

  /** Looks now: a block is final, an action is done. */
  wake(): void {
    if (!this.#closed) void this.round()
  }

  /** One look, and what it leads to. Never rejects: what fails now is tried at the next. */
  round(): Promise<void> {
    this.#running ??= this.#round()
      .catch((error: unknown) => {
        const why = reasonOf(error)
        if (this.#status.waiting !== why)
          this.#parts.logger.warn('payouts have to wait', { error: why })
        this.#status = { ...this.#status, waiting: why }
      })
      .finally(() => (this.#running = null))
    return this.#running
  }

  /** The open epoch; the first one opens with the first look. */
  openEpoch(): Promise<PayoutEpoch> {
    return this.#open()
  }

  /** The tree of a closed epoch. The last few that were asked for are kept. */
  treeOf(epoch: number): Promise<PayoutTree> {
    const known = this.#trees.get(epoch)
    const tree = known ?? this.#parts.store.payoutLeaves(epoch).then((leaves) => payoutTree(leaves))
    if (known === undefined) tree.catch(() => this.#trees.delete(epoch))
    this.#trees.delete(epoch)
    this.#trees.set(epoch, tree)
    for (const oldest of this.#trees.keys()) {
      if (this.#trees.size <= MAX_TREES) break
      this.#trees.delete(oldest)
    }
    return tree
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    await this.#running
  }

  async #round(): Promise<void> {
    const { store, chain, settings, now } = this.#parts
    const terms = (this.#terms ??= await readPayoutTerms(chain.client, chain.addresses.payouts))
    const { payouts, token } = chain.addresses
    const [state, wallet] = await Promise.all([
      readPayoutState(chain.client, { payouts, gateway: chain.operator, terms }),
      readToken(chain.client, { token, owner: chain.operator, spender: payouts }),
    ])
    this.#status = { ...this.#status, state, terms, wallet }
    const open = await this.#open(state)
    if (state.openChallenges > 0) await this.#answer(state)
    else this.#status = { ...this.#status, unanswerable: [] }
    await this.#pushClaims(state)
    const [last] = await store.payoutEpochs({ limit: 1, before: open.number })
    const step = nextPayoutStep({
      now: now(),
      epochMs: settings.epochMs,
      open,
      last: last ?? null,
      state,
      terms,
      due: await store.payoutsDue(),
      wallet,
      underWay: await this.#underWay(),
    })
    switch (step.do) {
      case 'wait':
        this.#status = { ...this.#status, waiting: step.why }
        if (step.wantsTokens) this.#parts.wantTokens?.()
        return
      case 'approve':
        return await this.#write(
          'payout-approve',
          `approve:${open.number}`,
          approveCall(token, payouts),
        )
      case 'bond':
        return await this.#write(
          'payout-bond',
          `bond:${open.number}`,
          bondCall(payouts, chain.operator, step.units),
        )
      case 'close':
        return await this.#close(open, step)
    }
  }

  /**
   * Of a database without epochs the first. A key that has paid before must not begin again: what it paid then would be
   * taken off what it owes now.
   */
  async #open(known?: PayoutState): Promise<PayoutEpoch> {
    const { store, chain, settings, now } = this.#parts
    const [newest] = await store.payoutEpochs({ limit: 1 })
    if (newest) return newest
    const { payouts } = chain.addresses
    this.#terms ??= await readPayoutTerms(chain.client, payouts)
    const terms = this.#terms
    const state =
      known ?? (await readPayoutState(chain.client, { payouts, gateway: chain.operator, terms }))
    if (state.epoch > 0 || state.paidUnits > 0n)
      throw new Fault(
        'payouts_of_another_ledger',
        `the operator key ${chain.operator} has paid out before (epoch ${state.epoch}), and this database knows nothing of it: restore that database, or make another key`,
      )
    return await store.openPayoutEpoch({ number: 1, feeBps: settings.feeBps, now: now() })
  }

  async #close(
    open: PayoutEpoch,
    { fundUnits, evenIfNothing }: { fundUnits: bigint; evenIfNothing: boolean },
  ): Promise<void> {
    const { store, chain, settings, now, logger } = this.#parts
    const { payouts } = chain.addresses
    const outcome = await store.closePayoutEpoch({
      epoch: open.number,
      nextFeeBps: settings.feeBps,
      now: now(),
      evenIfNothing,
      plan: (leaves, totalUnits) => {
        const { root } = payoutTree(leaves)
        // Nodes may have earned since we looked: the sum of this moment has to be covered.
        const deposited = this.#status.state?.depositedUnits ?? 0n
        const fund = totalUnits > deposited ? totalUnits - deposited : 0n
        const covers = fund <= (this.#status.wallet?.balanceUnits ?? 0n)
        if (!covers)
          throw new Fault(
            'payouts_short',
            `epoch ${open.number} needs ${fund} units for claims, more than the ${fundUnits} of a moment ago and than the wallet has`,
            { retryable: true },
          )
        const details = { epoch: open.number, root, totalUnits }
        const post = rootCall(payouts, { root, totalUnits, epoch: open.number })
        return {
          root,
          actions: [
            ...(fund === 0n
              ? []
              : [
                  {
                    purpose: `fund:${open.number}`,
                    kind: 'payout-fund',
                    details,
                    ...fundCall(payouts, chain.operator, fund),
                  },
                ]),
            { purpose: `root:${open.number}`, kind: 'payout-root', details, ...post },
          ],
        }
      },
    })
    if (typeof outcome === 'string') {
      this.#status = { ...this.#status, waiting: `epoch ${open.number}: ${outcome}` }
      return
    }
    logger.info('payout epoch closed', {
      epoch: outcome.number,
      paidUnits: outcome.closed?.paidUnits,
      totalUnits: outcome.closed?.totalUnits,
      root: outcome.closed?.root,
    })
    this.#status = {
      ...this.#status,
      waiting: `epoch ${outcome.number} is closed; its root is on its way`,
    }
    chain.wake()
  }

  async #underWay(): Promise<string[]> {
    const { store } = this.#parts
    const lists = await Promise.all(
      KINDS.flatMap((kind) =>
        (['written', 'signed'] as const).map((state) =>
          store.chainActions({ kind, state, limit: 10 }),
        ),
      ),
    )
    return lists.flat().map(({ purpose, problem }) => purpose + (problem ? ` (${problem})` : ''))
  }

  async #write(kind: string, purpose: string, call: PayoutCall): Promise<void> {
    const { store, chain } = this.#parts
    const name = await this.#freePurpose(purpose)
    if (name === null) return
    await store.writeChainAction({ purpose: name, kind, ...call })
    this.#status = { ...this.#status, waiting: `waiting until ${name} is mined` }
    chain.wake()
  }

  /** An action that failed is done again under another name; null: it is under way. */
  async #freePurpose(purpose: string): Promise<string | null> {
    for (let n = 1; ; n++) {
      const name = n === 1 ? purpose : `${purpose}:${n}`
      const known = await this.#parts.store.chainAction(name)
      if (known === null) return name
      if (known.state === 'written' || known.state === 'signed') return null
    }
  }

  async #answer(state: PayoutState): Promise<void> {
    const { store, chain, logger } = this.#parts
    const { payouts } = chain.addresses
    const posted = (await store.chainAction(`root:${state.epoch}`))?.mined?.blockNumber
    const back = state.block.number > LOOK_BACK_BLOCKS ? state.block.number - LOOK_BACK_BLOCKS : 0n
    const challenges = await readOpenChallenges(chain.client, {
      payouts,
      gateway: chain.operator,
      epoch: state.epoch,
      fromBlock: posted ?? back,
    })
    const tree = await this.treeOf(state.epoch)
    const unanswerable: { provider: Address; owedUnits: bigint }[] = []
    for (const { provider, owedUnits } of challenges) {
      const leaf = tree.proof(provider)
      if (leaf === null || leaf.cumulativeUnits < owedUnits) {
        unanswerable.push({ provider, owedUnits })
        continue
      }
      const call = answerCall(payouts, { gateway: chain.operator, provider, ...leaf }, owedUnits)
      await this.#write('payout-answer', `answer:${state.epoch}:${provider}:${owedUnits}`, call)
      logger.info('payout challenge answered', { epoch: state.epoch, provider, owedUnits })
    }
    if (unanswerable.length > this.#status.unanswerable.length)
      logger.error('a payout root owes less than was signed: it will be voided', {
        epoch: state.epoch,
        unanswerable,
      })
    this.#status = { ...this.#status, unanswerable }
  }

  /** For providers whose leaf in the counting root is above what they were paid; a part of them in each round. */
  async #pushClaims(state: PayoutState): Promise<void> {
    const { store, chain, settings } = this.#parts
    const least = settings.pushClaimsFromUnits
    if (least === null || state.root === null) return
    const epoch = await store.payoutEpochByRoot(state.root)
    if (epoch === null) return
    const leaves = await store.payoutLeaves(epoch.number)
    const from = this.#claimsFrom < leaves.length ? this.#claimsFrom : 0
    const part = leaves.slice(from, from + MAX_CLAIMS_A_ROUND)
    this.#claimsFrom = from + part.length
    const { payouts } = chain.addresses
    const gateway = chain.operator
    for (const { address: provider, cumulativeUnits } of part) {
      const paid = await readPaidTo(chain.client, { payouts, gateway, provider })
      if (cumulativeUnits - paid < least || cumulativeUnits <= paid) continue
      const leaf = (await this.treeOf(epoch.number)).proof(provider)
      const purpose = `payout-claim:${epoch.number}:${provider}`
      if (leaf === null || (await store.chainAction(purpose)) !== null) continue
      const call = claimCall(payouts, { gateway, provider, ...leaf })
      await store.writeChainAction({ purpose, kind: 'payout-claim', ...call })
    }
    chain.wake()
  }
}
