import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { keccak256, encodeAbiParameters, concatHex } from 'viem'
import { hexOf, type Address } from '../../core/base/hex.ts'
import {
  approveCall,
  bondCall,
  claimCall,
  fundCall,
  readToken,
  rootCall,
} from './payouts-contract.ts'
import { payoutTree, verifyPayout, type TreeLeaf } from './payout-tree.ts'
import { testChain } from './local/test-chain.ts'

const anAddress = (): Address => hexOf(randomBytes(20))
const leavesOf = (count: number): TreeLeaf[] =>
  Array.from({ length: count }, (_, i) => ({
    address: anAddress(),
    cumulativeUnits: BigInt(i + 1),
  }))

describe('a payout tree', { timeout: 60_000 }, () => {
  it('of one leaf is that leaf, hashed twice as the contract does', () => {
    const [leaf] = leavesOf(1)
    assert.ok(leaf)
    const inner = keccak256(
      encodeAbiParameters(
        [{ type: 'address' }, { type: 'uint128' }],
        [leaf.address, leaf.cumulativeUnits],
      ),
    )
    assert.equal(payoutTree([leaf]).root, keccak256(concatHex([inner])))
  })

  it('is the same whatever the order and case of its leaves', () => {
    const leaves = leavesOf(20)
    const shouted = leaves.toReversed().map(({ address, cumulativeUnits }) => ({
      address: `0x${address.slice(2).toUpperCase()}` as const,
      cumulativeUnits,
    }))
    assert.equal(payoutTree(shouted).root, payoutTree(leaves).root)
  })

  it('proves each of its leaves, and nothing else', () => {
    const leaves = leavesOf(33)
    const tree = payoutTree(leaves)
    for (const leaf of leaves) {
      const found = tree.proof(leaf.address)
      assert.ok(found && found.cumulativeUnits === leaf.cumulativeUnits)
      assert.ok(verifyPayout(tree.root, leaf, found.proof))
      const more = { ...leaf, cumulativeUnits: leaf.cumulativeUnits + 1n }
      assert.ok(!verifyPayout(tree.root, more, found.proof))
      assert.ok(!verifyPayout(tree.root, { ...leaf, address: anAddress() }, found.proof))
      assert.ok(!verifyPayout(tree.root, leaf, found.proof.slice(1)))
      assert.ok(!verifyPayout(tree.root, leaf, ['0x12']))
    }
    assert.equal(tree.proof(anAddress()), null)
  })

  it('refuses what no contract could pay', () => {
    const [leaf] = leavesOf(1)
    assert.ok(leaf)
    assert.throws(() => payoutTree([]), /needs a leaf/)
    assert.throws(() => payoutTree([leaf, leaf]), /two leaves/)
    assert.throws(() => payoutTree([{ ...leaf, cumulativeUnits: -1n }]), /no uint128/)
    assert.throws(() => payoutTree([{ ...leaf, cumulativeUnits: 2n ** 128n }]), /no uint128/)
    assert.ok(payoutTree([{ ...leaf, cumulativeUnits: 2n ** 128n - 1n }]).root)
  })

  it('is what the contract pays by', async (t) => {
    const chain = await testChain(t)
    const { payouts, token } = chain.addresses
    const operator = await chain.wallet('10', 10_000_000_000n)
    const leaves = leavesOf(7)
    const totalUnits = leaves.reduce((sum, { cumulativeUnits }) => sum + cumulativeUnits, 0n)
    const tree = payoutTree(leaves)
    for (const call of [
      approveCall(token, payouts),
      bondCall(payouts, operator.address, 100_000_000n),
      fundCall(payouts, operator.address, totalUnits),
      rootCall(payouts, { root: tree.root, totalUnits, epoch: 1 }),
    ])
      await operator.client.sendTransaction({ to: call.target, data: call.data })
    await chain.pass(3600)
    for (const { address, cumulativeUnits } of leaves) {
      const proof = tree.proof(address)
      assert.ok(proof)
      const gateway = operator.address
      const call = claimCall(payouts, { gateway, provider: address, ...proof })
      await operator.client.sendTransaction({ to: call.target, data: call.data })
      const { balanceUnits } = await readToken(chain.client, {
        token,
        owner: address,
        spender: payouts,
      })
      assert.equal(balanceUnits, cumulativeUnits)
    }
  })
})
