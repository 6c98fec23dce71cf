/** How a provider's money stands with one gateway: each step from earned to claimed, and why the next one is not done. */
import { formatUsd } from '../../../core/base/money.ts'
import { NANO_USD_PER_UNIT } from '../../../io/store/payout-records.ts'
import { bestIou } from '../../node/iou-file.ts'
import { table } from '../shell/terminal.ts'
import { isLeaf, type Debt, type FoundLeaf } from './payout-facts.ts'

export const usd = (units: bigint): string => `$${formatUsd(units * NANO_USD_PER_UNIT)}`
const timeText = (seconds: number): string => new Date(seconds * 1000).toISOString()
/** anvil's, and what `npm start` runs. */
const LOCAL_CHAIN = 31_337
export const moneyLabel = (chainId: number): string =>
  chainId === LOCAL_CHAIN ? ' (test money)' : ''

/** Units that could be claimed now. */
export function claimable({ counting, iou, paidUnits }: Debt): {
  readonly byLeaf: bigint
  readonly byIou: bigint
} {
  const above = (units: bigint) => (units > paidUnits ? units - paidUnits : 0n)
  return {
    byLeaf: isLeaf(counting) ? above(counting.cumulativeUnits) : 0n,
    byIou: above(BigInt(iou.cumulative)),
  }
}

/** The best IOU that a pending root must honour, and that it owes less than; null: there is nothing to challenge. */
export function brokenPromise(
  debt: Debt,
): { readonly promised: bigint; readonly owed: bigint } | null {
  const { pending, state, file } = debt
  if (state.pending === null || pending === null) return null
  const iou = bestIou(file, state.epoch)
  if (iou === null) return null
  const owed = isLeaf(pending) ? pending.cumulativeUnits : 0n
  const promised = BigInt(iou.cumulative)
  return promised > owed ? { promised, owed } : null
}

export function whyNotMore(debt: Debt): string {
  const { state, waiting, counting } = debt
  const broken = brokenPromise(debt)
  if (broken !== null)
    return isLeaf(debt.pending)
      ? `the pending root owes you ${usd(broken.owed)}, the IOU says ${usd(broken.promised)}: \`baseload payouts challenge\``
      : `no leaf of yours could be shown in the pending root (${problemOf(debt.pending)}): claim by IOU, or \`baseload payouts challenge\``
  if (state.openChallenges > 0)
    return `the pending root is challenged (${state.openChallenges} open)`
  if (state.pending !== null)
    return `the root of epoch ${state.epoch} can be challenged until ${timeText(state.pending.countsFrom)}; then it counts`
  if (waiting !== null) return waiting
  if (!isLeaf(counting)) return problemOf(counting)
  return 'nothing is left to wait for'
}

const problemOf = (found: FoundLeaf | null): string =>
  found !== null && 'problem' in found ? found.problem : ''

export function debtJson(debt: Debt) {
  const { file, iou, paidUnits, counting, pending, state, saidUnits } = debt
  const { byLeaf, byIou } = claimable(debt)
  return {
    gateway: file.gateway,
    provider: file.provider,
    chain_id: file.chainId,
    contract: file.payouts,
    owed_units: saidUnits === null ? null : String(saidUnits),
    iou: {
      epoch: iou.epoch,
      cumulative_units: iou.cumulative,
      at: new Date(iou.atMs).toISOString(),
    },
    pending_root: state.pending && {
      epoch: state.epoch,
      counts_from: timeText(state.pending.countsFrom),
      ...leafJson(pending),
    },
    counting_root: { root: state.root, ...leafJson(counting) },
    claimable_units: { by_leaf: String(byLeaf), by_iou: String(byIou) },
    claimed_units: String(paidUnits),
    funds_units: String(state.depositedUnits - state.paidUnits),
    bond_units: String(state.bondUnits),
    waiting: whyNotMore(debt),
  }
}

const leafJson = (found: FoundLeaf | null) =>
  isLeaf(found)
    ? { leaf_units: String(found.cumulativeUnits), problem: null }
    : { leaf_units: null, problem: problemOf(found) }

export function debtPage(debt: Debt): string {
  const { file, iou, paidUnits, counting, pending, state, saidUnits } = debt
  const { byLeaf, byIou } = claimable(debt)
  const covers = state.depositedUnits - state.paidUnits + state.bondUnits
  return `${file.gateway} owes ${file.provider}${moneyLabel(file.chainId)}
${table([
  ['  earned', saidUnits === null ? 'the gateway does not say' : `${usd(saidUnits)} by its ledger`],
  [
    '  IOU held',
    `${usd(BigInt(iou.cumulative))}, epoch ${iou.epoch}, of ${new Date(iou.atMs).toISOString()}`,
  ],
  [
    '  pending root',
    state.pending === null
      ? 'none'
      : `epoch ${state.epoch}: ${leafText(pending)}, until ${timeText(state.pending.countsFrom)}`,
  ],
  ['  counting root', leafText(counting)],
  ['  claimable', `${usd(byLeaf)} by leaf, ${usd(byIou)} by IOU`],
  ['  claimed', usd(paidUnits)],
  ['  behind it', `${usd(covers)}: the gateway's funds and bond, for all of its providers`],
  ['  next', whyNotMore(debt)],
])}`
}

const leafText = (found: FoundLeaf | null): string =>
  isLeaf(found) ? `your leaf is ${usd(found.cumulativeUnits)}` : problemOf(found)
