/** What a provider does about its payouts: check, claim, challenge. None of it needs the gateway. */
import { zeroAddress } from 'viem'
import type { Address } from '../../../core/base/hex.ts'
import { payoutsAbi } from '../../../io/chain/abi/payouts.ts'
import {
  approveCall,
  challengeCall,
  claimByIouCall,
  claimCall,
  creditCall,
  readToken,
  voidCall,
  type PayoutCall,
} from '../../../io/chain/payouts-contract.ts'
import { bestIou, type KeptIou } from '../../node/iou-file.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { table } from '../shell/terminal.ts'
import { print, textOf, type Flags, type Shell } from './command.ts'
import { isLeaf, readDebts, type Debt, type FoundLeaf } from './payout-facts.ts'
import { gasAccount, sendCall } from './payout-gas.ts'
import { brokenPromise, claimable, moneyLabel, usd, whyNotMore } from './payout-report.ts'

type Check = { readonly name: string; readonly ok: boolean | null; readonly detail: string }

/** Throws Failure `payout_broken` where a gateway does not keep its word. */
export async function verifyPayouts(flags: Flags, shell: Shell): Promise<void> {
  let broken = 0
  for (const debt of await readDebts(flags, shell)) {
    const checks = checksOf(debt)
    const ok = checks.every((check) => check.ok !== false)
    if (!ok) broken += 1
    const json = { gateway: debt.file.gateway, provider: debt.file.provider, ok, checks }
    await print(flags, shell.terminal, json, () => {
      const rows = checks.map(({ name, ok: fine, detail }) => [
        fine === null ? ' –' : fine ? ' ✓' : ' ✗',
        name,
        detail,
      ])
      return `${debt.file.gateway}${moneyLabel(debt.file.chainId)}\n${table(rows)}`
    })
  }
  if (broken > 0)
    throw new Failure(EXIT.failure, `${broken} gateways do not keep what they signed`, {
      code: 'payout_broken',
      next: '`baseload payouts challenge` while the root is pending; `baseload payouts claim --by iou` at any time',
    })
}

function checksOf(debt: Debt): Check[] {
  const { iou, state, pending, counting, file, terms, saidUnits } = debt
  const promise = BigInt(iou.cumulative)
  const broken = brokenPromise(debt)
  const funds = state.depositedUnits - state.paidUnits
  return [
    {
      name: 'IOU',
      ok: true,
      detail: `${usd(promise)} signed by ${file.gateway} in epoch ${iou.epoch}`,
    },
    {
      name: 'ledger',
      ok: saidUnits === null ? null : saidUnits >= promise,
      detail: saidUnits === null ? 'the gateway does not say' : `it says ${usd(saidUnits)}`,
    },
    leafCheck('counting root', counting, state.root === null),
    leafCheck('pending root', pending, state.pending === null),
    {
      name: 'promise',
      ok: state.pending === null ? null : broken === null,
      detail:
        broken === null
          ? 'no pending root owes less than it signed'
          : `the pending root owes ${usd(broken.owed)} of ${usd(broken.promised)}`,
    },
    {
      name: 'bond',
      ok: state.bondUnits >= terms.minBondUnits ? true : null,
      detail: `${usd(state.bondUnits)} of ${usd(terms.minBondUnits)} that a root needs`,
    },
    {
      name: 'funds',
      ok: funds + state.bondUnits >= claimable(debt).byIou ? true : null,
      detail: `${usd(funds)} and the bond, for all providers; yours is ${usd(claimable(debt).byIou)}`,
    },
  ]
}

const leafCheck = (name: string, found: FoundLeaf | null, none: boolean): Check => {
  if (none) return { name, ok: null, detail: 'there is none' }
  if (isLeaf(found))
    return {
      name,
      ok: true,
      detail: `your leaf of ${usd(found.cumulativeUnits)} is in ${found.root}`,
    }
  return { name, ok: null, detail: found === null ? 'there is none' : found.problem }
}

/** Claims from each gateway what there is; says of each why not more. */
export async function claimPayouts(flags: Flags, shell: Shell): Promise<void> {
  const by = textOf(flags, 'by') ?? 'either'
  if (!['either', 'leaf', 'iou'].includes(by))
    throw new Failure(EXIT.usage, `'${by}' is no way to claim`, { next: '--by leaf, or --by iou' })
  const account = gasAccount(flags)
  let claimed = 0n
  for (const debt of await readDebts(flags, shell)) {
    const { byLeaf, byIou } = claimable(debt)
    const { payouts, gateway, provider } = debt.file
    const way = by === 'iou' || (by === 'either' && byLeaf === 0n) ? 'iou' : 'leaf'
    const units = way === 'iou' ? byIou : byLeaf
    if (units === 0n) {
      const why = whyNotMore(debt)
      const json = { gateway, provider, claimed_units: '0', transaction: null, waiting: why }
      await print(
        flags,
        shell.terminal,
        json,
        () => `${gateway}: nothing to claim by ${way}: ${why}\n`,
      )
      continue
    }
    const call =
      way === 'leaf' && isLeaf(debt.counting)
        ? claimCall(payouts, { gateway, provider, ...debt.counting })
        : claimByIouCall(payouts, signedIou(debt, debt.iou))
    const transaction = await sendCall(lineOf(debt, flags, shell), account, call)
    const after = await paidNow(debt)
    const got = after - debt.paidUnits
    claimed += got
    const json = { gateway, provider, by: way, claimed_units: String(got), transaction }
    await print(flags, shell.terminal, json, () => {
      const short =
        got < units ? `; ${usd(units - got)} more is owed, and the gateway has no more` : ''
      return `${gateway} paid ${provider} ${usd(got)}${moneyLabel(debt.file.chainId)} by ${way} in ${transaction}${short}\n`
    })
  }
  if (claimed === 0n)
    throw new Failure(EXIT.failure, 'nothing was claimed', { code: 'nothing_due' })
}

/** The next step of a challenge with each gateway: open it, void the root when no answer came, take out what was won. */
export async function challengeRoots(flags: Flags, shell: Shell): Promise<void> {
  const account = gasAccount(flags)
  for (const debt of await readDebts(flags, shell)) {
    const step = await nextChallengeStep(debt, account.address, flags['blind'] === true)
    const sent: string[] = []
    for (const call of step.calls)
      sent.push(await sendCall(lineOf(debt, flags, shell), account, call))
    const { gateway, provider } = debt.file
    const json = { gateway, provider, step: step.name, transactions: sent, detail: step.detail }
    await print(flags, shell.terminal, json, () => `${gateway}: ${step.detail}\n`)
  }
}

type ChallengeStep = {
  readonly name: 'withdrawn' | 'voided' | 'waiting' | 'opened' | 'none'
  readonly calls: readonly PayoutCall[]
  readonly detail: string
}

async function nextChallengeStep(
  debt: Debt,
  sender: Address,
  blind: boolean,
): Promise<ChallengeStep> {
  const { client, file, state, terms } = debt
  const { payouts, gateway, provider } = file
  const contract = { abi: payoutsAbi, address: payouts } as const
  const credit = await client.readContract({
    ...contract,
    functionName: 'creditOf',
    args: [sender],
  })
  if (credit > 0n)
    return {
      name: 'withdrawn',
      calls: [creditCall(payouts, sender, credit)],
      detail: `${usd(credit)} that challenges earned ${sender} are paid out`,
    }
  if (state.pending === null) return none('no root is pending, so there is nothing to challenge')
  const iou = bestIou(file, state.epoch)
  const owed = BigInt(iou?.cumulative ?? 0)
  const opened = await client.readContract({
    ...contract,
    functionName: 'challengeOf',
    args: [gateway, provider, state.epoch, owed],
  })
  if (opened.answerBy !== 0 && opened.challenger === zeroAddress)
    return none(`the challenge was answered: the root owes ${usd(owed)} or more`)
  if (opened.answerBy !== 0) {
    if (state.block.timestamp > opened.answerBy)
      return {
        name: 'voided',
        calls: [voidCall(payouts, gateway, provider, owed)],
        detail: `nobody answered: the root of epoch ${state.epoch} is void, and ${usd(terms.penaltyUnits)} of the bond is the challenger's; run this again to take it`,
      }
    const until = new Date(opened.answerBy * 1000).toISOString()
    return {
      name: 'waiting',
      calls: [],
      detail: `the challenge is open; the gateway can answer until ${until}, run this again then`,
    }
  }
  const broken = brokenPromise(debt)
  if (iou === null || broken === null) return none(`nothing to challenge: ${whyNotMore(debt)}`)
  if (state.block.timestamp >= state.pending.countsFrom)
    return none('the challenge window is over; claim by IOU')
  // A root that has the leaf after all would be answered, and the deposit lost.
  if (!isLeaf(debt.pending) && debt.saidUnits === null && !blind)
    return none(
      'the gateway does not show the tree of its root, so nobody can say whether you are in it: claim by IOU, or challenge with --blind (the deposit is lost when it answers)',
    )
  const token = await client.readContract({ ...contract, functionName: 'token' })
  const { balanceUnits, allowanceUnits } = await readToken(client, {
    token,
    owner: sender,
    spender: payouts,
  })
  const deposit = terms.challengeDepositUnits
  if (balanceUnits < deposit)
    throw new Failure(
      EXIT.failure,
      `a challenge takes a deposit of ${usd(deposit)}, ${sender} has ${usd(balanceUnits)}`,
      {
        code: 'deposit_missing',
        next: 'send it there: it comes back with the penalty when the gateway cannot answer. Claiming by IOU takes none',
      },
    )
  const approve = allowanceUnits < deposit ? [approveCall(token, payouts, deposit)] : []
  return {
    name: 'opened',
    calls: [...approve, challengeCall(payouts, signedIou(debt, iou))],
    detail: `challenged: the root of epoch ${state.epoch} owes ${usd(broken.owed)}, the IOU says ${usd(broken.promised)}; the gateway has ${terms.answerWindowS / 60} minutes to answer, run this again then`,
  }
}

const none = (detail: string): ChallengeStep => ({ name: 'none', calls: [], detail })

const signedIou = ({ file }: Debt, { epoch, cumulative, signature }: KeptIou) => ({
  gateway: file.gateway,
  provider: file.provider,
  epoch,
  cumulativeUnits: BigInt(cumulative),
  signature,
})

const lineOf = ({ client, file }: Debt, flags: Flags, shell: Shell) => ({
  client,
  chainId: file.chainId,
  rpcUrl: textOf(flags, 'rpc') ?? shell.env['BASELOAD_CHAIN_RPC'] ?? '',
})

const paidNow = ({ client, file }: Debt): Promise<bigint> =>
  client.readContract({
    abi: payoutsAbi,
    address: file.payouts,
    functionName: 'paidTo',
    args: [file.gateway, file.provider],
  })
