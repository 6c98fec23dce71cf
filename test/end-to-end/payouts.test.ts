/** Providers are paid on chain: to the last unit by an honest gateway, and in spite of one that cheats or is gone for good. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { z } from 'zod'
import { lowerHex, type Address } from '../../src/core/base/hex.ts'
import { payoutTree } from '../../src/io/chain/payout-tree.ts'
import {
  challengeCall,
  approveCall,
  readPayoutState,
  readPayoutTerms,
  rootCall,
} from '../../src/io/chain/payouts-contract.ts'
import { nodeLedger } from '../../src/io/store/store.ts'
import { bestIou } from '../../src/programs/node/iou-file.ts'
import {
  HOUR_S,
  payingNetwork,
  type PayingNetwork,
  type PayingNode,
} from '../support/paying-network.ts'

const limit = { timeout: 180_000 }

const debt = z.looseObject({
  gateway: z.string(),
  owed_units: z.string().nullable(),
  iou: z.looseObject({ epoch: z.number(), cumulative_units: z.string() }),
  pending_root: z.looseObject({ epoch: z.number(), leaf_units: z.string().nullable() }).nullable(),
  counting_root: z.looseObject({ leaf_units: z.string().nullable() }),
  claimable_units: z.object({ by_leaf: z.string(), by_iou: z.string() }),
  claimed_units: z.string(),
  waiting: z.string(),
})
const status = z.object({ debts: z.array(debt).min(1) })
const claimAnswer = z.looseObject({ claimed_units: z.string(), by: z.string() })
const challengeAnswer = z.looseObject({ step: z.string(), detail: z.string() })

describe('payouts', limit, () => {
  it('reach the provider to the last unit, by root, proof and claim', limit, async (t) => {
    const network = await payingNetwork(t, { feeBps: 250 })
    const provider = await network.chain.wallet('1')
    const payee = lowerHex(provider.address)
    const [one, two] = [
      await network.addNode(provider.address),
      await network.addNode(provider.address),
    ]
    const bare = await network.addNode(null)
    for (let i = 0; i < 12; i++) await network.ask()
    await network.until('the node without an address is told', () =>
      bare.said.some((line) => /keeps \$\S+ for you in its ledger.*--payout-address/.test(line)),
    )
    await network.until('a root pends', async () => (await stateOf(network)).pending !== null)
    const [epoch] = (await network.store.payoutEpochs({ limit: 9 })).filter(({ closed }) => closed)
    assert.ok(epoch?.closed)
    // Challenged by an IOU that the root honours: answered with the proof, and the deposit is the gateway's.
    await challengeHonestRoot(network, one)
    await network.until('the challenge is answered', async () => {
      const state = await stateOf(network)
      return state.openChallenges === 0 && state.depositedUnits > (epoch.closed?.totalUnits ?? 0n)
    })
    const before = status.parse((await network.cli(two, 'payouts', 'status')).json).debts[0]
    assert.equal(before?.pending_root?.leaf_units, String(epoch.closed.totalUnits))
    assert.deepEqual(before?.claimable_units.by_leaf, '0')
    assert.match(before?.waiting ?? '', /can be challenged until/)
    assert.equal((await network.cli(two, 'payouts', 'verify')).code, 0)

    await network.chain.pass(HOUR_S)
    const claimed = await network.cli(two, 'payouts', 'claim', '--by', 'leaf')
    assert.equal(claimed.code, 0, claimed.err)
    assert.equal(claimAnswer.parse(claimed.json).claimed_units, String(epoch.closed.totalUnits))
    assert.equal(await network.units(payee), epoch.closed.totalUnits)

    // What came in since goes into the next root: nothing is left but less than a unit at each node.
    await bare.stop()
    for (let i = 0; i < 4; i++) await network.ask()
    await network.until(
      'the next root pends',
      async () => (await stateOf(network)).epoch > epoch.number,
    )
    await network.until(
      'nothing more is due',
      async () =>
        (await network.store.payoutsDue()).units === 0n ||
        (await stateOf(network)).pending === null,
    )
    await network.chain.pass(HOUR_S)
    await network.until('all of it is in a root that counts', async () => {
      await network.chain.pass(HOUR_S)
      const { owed, leaf } = await standing(network, two)
      return owed === leaf
    })
    assert.equal((await network.cli(two, 'payouts', 'claim')).code, 0)
    const owed = await network.store.owedTo(payee)
    assert.equal(await network.units(payee), owed?.cumulativeUnits)
    for (const node of [one, two]) {
      const { balanceNanoUsd } = await network.store.balance(nodeLedger(node.id))
      assert.ok(balanceNanoUsd < 1_000n, `${balanceNanoUsd} nano-dollars are left`)
    }
    await audited(network)
    const seen = await network.cli(null, 'payouts', '--url', network.url)
    assert.equal(seen.code, 0, seen.err)
    const { fees } = z.looseObject({ fees: z.object({ nano_usd: z.string() }) }).parse(seen.json)
    assert.ok(BigInt(fees.nano_usd) > 0n)
  })

  it('are pushed to providers when the operator wants it', limit, async (t) => {
    const network = await payingNetwork(t, { pushClaims: true, pushClaimsAboveUsd: '0' })
    const provider = await network.chain.wallet('0')
    await network.addNode(provider.address)
    await network.ask()
    await network.until('a root pends', async () => (await stateOf(network)).pending !== null)
    await network.chain.pass(HOUR_S)
    await network.until(
      'it is paid',
      async () => (await network.units(lowerHex(provider.address))) > 0n,
    )
    await audited(network)
  })

  it('wait for the operator’s money, and say so', limit, async (t) => {
    const network = await payingNetwork(t, {}, 0n)
    const provider = await network.chain.wallet('0')
    const node = await network.addNode(provider.address)
    await network.ask()
    await network.until('the reason is told', async () => {
      if (node.ious().length === 0) return false
      return /wallet has \$0\.00 of \$100\.\d+ .*for the bond/.test(
        (await standing(network, node)).waiting,
      )
    })
    await network.chain.fund(network.operator.address, '10', 500_000_000n)
    await network.until('a root pends', async () => (await stateOf(network)).pending !== null)
  })

  it('are taken by IOU when the gateway is killed and never comes back', limit, async (t) => {
    const network = await payingNetwork(t, { payoutEpochSeconds: 86_400 })
    const provider = await network.chain.wallet('0')
    const node = await network.addNode(provider.address)
    // What stands behind it: an operator who has put money there.
    await fundByHand(network)
    for (let i = 0; i < 3; i++) await network.ask()
    const owed = await settledUnits(network, node)
    await network.until('all of it is signed', () => signedUnits(node) === owed)
    await network.killGateway()
    const { claimable_units: claimable, waiting } = (await standing(network, node)).debt
    assert.deepEqual(claimable, { by_leaf: '0', by_iou: String(owed) })
    assert.match(waiting, /no root counts yet/)
    const claimed = await network.cli(node, 'payouts', 'claim')
    assert.equal(claimed.code, 0, claimed.err)
    assert.deepEqual(claimAnswer.parse(claimed.json).by, 'iou')
    assert.equal(await network.units(lowerHex(provider.address)), owed)
    const again = await network.cli(node, 'payouts', 'claim')
    assert.notEqual(again.code, 0, 'nothing is paid twice')
  })

  it(
    'left out of a root are challenged, and cost the gateway its root and bond',
    limit,
    async (t) => {
      const network = await payingNetwork(t, { payoutEpochSeconds: 86_400 })
      const provider = await network.chain.wallet('0')
      const node = await network.addNode(provider.address)
      await fundByHand(network)
      for (let i = 0; i < 3; i++) await network.ask()
      const owed = await settledUnits(network, node)
      await network.until('all of it is signed', () => signedUnits(node) === owed)
      // The operator turns: its root pays a friend, and its gateway goes on smiling.
      await postByHand(network, lowerHex(network.chain.guardian.address), owed)
      const verified = await network.cli(node, 'payouts', 'verify')
      assert.notEqual(verified.code, 0)
      assert.match(verified.err, /payout_broken/)
      const opened = await network.cli(node, 'payouts', 'challenge')
      assert.equal(challengeAnswer.parse(opened.json).step, 'opened', opened.err)
      const waits = await network.cli(node, 'payouts', 'challenge')
      assert.equal(challengeAnswer.parse(waits.json).step, 'waiting')
      await network.chain.pass(HOUR_S + 1)
      assert.equal((await stateOf(network)).root, null, 'a challenged root does not come to count')
      const voided = await network.cli(node, 'payouts', 'challenge')
      assert.equal(challengeAnswer.parse(voided.json).step, 'voided', voided.err)
      assert.equal((await stateOf(network)).pending, null)
      const taken = await network.cli(node, 'payouts', 'challenge')
      assert.equal(challengeAnswer.parse(taken.json).step, 'withdrawn')
      const claimed = await network.cli(node, 'payouts', 'claim')
      assert.equal(claimed.code, 0, claimed.err)
      assert.equal(await network.units(lowerHex(provider.address)), owed)
    },
  )
})

const stateOf = async ({ chain, operator }: PayingNetwork) => {
  const { payouts } = chain.addresses
  const terms = await readPayoutTerms(chain.client, payouts)
  return await readPayoutState(chain.client, { payouts, gateway: operator.address, terms })
}

async function standing(network: PayingNetwork, node: PayingNode) {
  const answer = await network.cli(node, 'payouts', 'status')
  assert.equal(answer.code, 0, answer.err)
  const [first] = status.parse(answer.json).debts
  assert.ok(first)
  return {
    debt: first,
    owed: first.owed_units,
    leaf: first.counting_root.leaf_units,
    waiting: first.waiting,
  }
}

const signedUnits = (node: PayingNode): bigint => {
  const [file] = node.ious()
  return BigInt((file && bestIou(file)?.cumulative) ?? 0)
}

/** What the node has earned, once all of it is settled. */
async function settledUnits(network: PayingNetwork, node: PayingNode): Promise<bigint> {
  let last = -1n
  await network.until('all is settled', async () => {
    const { balanceNanoUsd } = await network.store.balance(nodeLedger(node.id))
    const settled = balanceNanoUsd > 0n && balanceNanoUsd === last
    last = balanceNanoUsd
    await new Promise((resolve) => setTimeout(resolve, 300))
    return settled
  })
  return last / 1_000n
}

async function send(network: PayingNetwork, calls: readonly { target: Address; data: Address }[]) {
  for (const { target, data } of calls)
    await network.operator.client.sendTransaction({ to: target, data })
}

async function fundByHand({ chain, operator }: PayingNetwork): Promise<void> {
  const { payouts, token } = chain.addresses
  const { fundCall, bondCall } = await import('../../src/io/chain/payouts-contract.ts')
  for (const { target, data } of [
    approveCall(token, payouts),
    fundCall(payouts, operator.address, 100_000_000n),
    bondCall(payouts, operator.address, 100_000_000n),
  ])
    await operator.client.sendTransaction({ to: target, data })
}

async function postByHand(network: PayingNetwork, friend: Address, units: bigint): Promise<void> {
  const { root } = payoutTree([{ address: friend, cumulativeUnits: units }])
  const { payouts } = network.chain.addresses
  await send(network, [rootCall(payouts, { root, totalUnits: units, epoch: 1 })])
}

async function challengeHonestRoot(network: PayingNetwork, node: PayingNode): Promise<void> {
  const { chain } = network
  const { payouts, token } = chain.addresses
  const state = await stateOf(network)
  const [file] = node.ious()
  assert.ok(file)
  const iou = bestIou(file, state.epoch)
  assert.ok(iou)
  const challenger = await chain.wallet('1', 100_000_000n)
  for (const { target, data } of [
    approveCall(token, payouts),
    challengeCall(payouts, {
      gateway: file.gateway,
      provider: file.provider,
      epoch: iou.epoch,
      cumulativeUnits: BigInt(iou.cumulative),
      signature: iou.signature,
    }),
  ])
    await challenger.client.sendTransaction({ to: target, data })
}

async function audited({ store }: PayingNetwork): Promise<void> {
  const { sumNanoUsd, wrong } = await store.audit()
  assert.deepEqual([sumNanoUsd, wrong], [0n, []])
}
