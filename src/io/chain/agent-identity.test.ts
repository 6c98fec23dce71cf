import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { encodeDeployData, keccak256, stringToHex, type Hex } from 'viem'
import {
  testIdentityRegistryAbi,
  testIdentityRegistryBytecode,
} from './abi/test-identity-registry.ts'
import {
  testReputationRegistryAbi,
  testReputationRegistryBytecode,
} from './abi/test-reputation-registry.ts'
import {
  testValidationRegistryAbi,
  testValidationRegistryBytecode,
} from './abi/test-validation-registry.ts'
import {
  agentCalls,
  auditScore,
  readAgent,
  readFeedback,
  readValidation,
  readVerdicts,
  registeredAgentId,
} from './agent-identity.ts'
import type { ContractCall } from './contract-call.ts'
import { testChain, type TestWallet } from './local/test-chain.ts'

const FILE = 'https://gateway.example/.well-known/agent-registration.json'
const hashOf = (text: string): Hex => keccak256(stringToHex(text))

describe('an agent of ERC-8004', { timeout: 60_000 }, () => {
  it('has an owner, a wallet and its registration file, the first one too', async (t) => {
    const { client, registries, calls, register, send, node } = await setup(t)
    const first = await register(node, FILE)
    const second = await register(node, `${FILE}?2`)
    assert.deepEqual([first, second], [0n, 1n])
    const expected = { agentId: 0n, owner: node.address, wallet: node.address, uri: FILE }
    assert.deepEqual(await readAgent(client, registries, first), expected)
    assert.equal(await readAgent(client, registries, 2n), null)
    await send(node, calls.setUri(first, 'ipfs://new'))
    assert.equal((await readAgent(client, registries, first))?.uri, 'ipfs://new')
    assert.throws(() => registeredAgentId(registries, []), /register no agent/)
  })

  it('keeps its metadata', async (t) => {
    const { client, registries, calls, register, node } = await setup(t)
    const agentId = await register(node, FILE, { baseload: 'node_x' })
    const kept = await client.readContract({
      abi: testIdentityRegistryAbi,
      address: registries.identity,
      functionName: 'getMetadata',
      args: [agentId, 'baseload'],
    })
    assert.equal(kept, stringToHex('node_x'))
    assert.throws(() => calls.register(FILE, { agentWallet: 'mine' }), /cannot set agentWallet/)
  })

  it('is rated by its tenants, and not by its owner', async (t) => {
    const { client, registries, calls, register, send, node, tenant } = await setup(t)
    const agentId = await register(node, FILE)
    const clients = [tenant.address]
    await send(tenant, calls.giveFeedback({ agentId, value: 9977n, decimals: 2, tag1: 'uptime' }))
    await send(tenant, calls.giveFeedback({ agentId, value: 9000n, decimals: 2, tag1: 'uptime' }))
    const rated = await readFeedback(client, registries, { agentId, clients, tag1: 'uptime' })
    assert.deepEqual(rated, { count: 2n, value: 9488n, decimals: 2 })
    await send(tenant, calls.revokeFeedback(agentId, 2n))
    const left = await readFeedback(client, registries, { agentId, clients })
    assert.deepEqual(left, { count: 1n, value: 9977n, decimals: 2 })
    const own = calls.giveFeedback({ agentId, value: 100n, decimals: 0 })
    await assert.rejects(send(node, own), /revert/)
    await assert.rejects(readFeedback(client, registries, { agentId, clients: [] }), /name the/)
  })

  it('has the verdicts of whom it asked', async (t) => {
    const { client, registries, calls, register, send, node, auditor, tenant } = await setup(t)
    const agentId = await register(node, FILE)
    const requestHash = hashOf('a window of receipts')
    assert.equal(await readValidation(client, registries, requestHash), null)
    const asked = { agentId, validator: auditor.address, uri: FILE, hash: requestHash }
    await send(node, calls.requestValidation(asked))
    const score = auditScore({ passed: 199, audited: 200 })
    const verdict = calls.publishVerdict({
      requestHash,
      score,
      hash: hashOf('report'),
      tag: 'rescore',
    })
    await assert.rejects(send(tenant, verdict), /revert/, 'nobody asked it')
    await send(auditor, verdict)
    const { updatedAtS, ...rest } = (await readValidation(client, registries, requestHash)) ?? {}
    assert.deepEqual(rest, {
      agentId,
      validator: auditor.address,
      score: 99,
      hash: hashOf('report'),
      tag: 'rescore',
    })
    assert.ok(updatedAtS !== undefined && updatedAtS > 0)
    const all = await readVerdicts(client, registries, { agentId })
    assert.deepEqual(all, { count: 1n, score: 99 })
    const others = { agentId, validators: [tenant.address] }
    assert.deepEqual(await readVerdicts(client, registries, others), { count: 0n, score: 0 })
  })

  it('takes no number out of its bounds', async (t) => {
    const { calls } = await setup(t)
    const requestHash = hashOf('x')
    for (const score of [-1, 101, 99.5, Number.NaN])
      assert.throws(() => calls.publishVerdict({ requestHash, score }), { code: 'agent_invalid' })
    for (const score of [0, 100]) calls.publishVerdict({ requestHash, score })
    const rating = { agentId: 0n, value: 10n ** 38n, decimals: 18 }
    calls.giveFeedback(rating)
    for (const wrong of [{ value: 10n ** 38n + 1n }, { decimals: 19 }, { decimals: -1 }])
      assert.throws(() => calls.giveFeedback({ ...rating, ...wrong }), { code: 'agent_invalid' })
    assert.deepEqual(
      [auditScore({ passed: 0, audited: 3 }), auditScore({ passed: 3, audited: 3 })],
      [0, 100],
    )
    for (const of of [
      { passed: 0, audited: 0 },
      { passed: 2, audited: 1 },
    ])
      assert.throws(() => auditScore(of), { code: 'agent_invalid' })
  })

  it('is not taken for absent when the chain is', async (t) => {
    const { client, registries, chain } = await setup(t)
    await chain.stop()
    await assert.rejects(readAgent(client, registries, 0n))
  })
})

async function setup(t: TestContext) {
  const chain = await testChain(t)
  const { client } = chain
  const put = async (data: Hex) => {
    const hash = await chain.guardian.client.sendTransaction({ data })
    const { contractAddress } = await client.waitForTransactionReceipt({ hash })
    assert.ok(contractAddress)
    return contractAddress
  }
  const identity = await put(
    encodeDeployData({ abi: testIdentityRegistryAbi, bytecode: testIdentityRegistryBytecode }),
  )
  const args = [identity] as const
  const reputation = await put(
    encodeDeployData({
      abi: testReputationRegistryAbi,
      bytecode: testReputationRegistryBytecode,
      args,
    }),
  )
  const validation = await put(
    encodeDeployData({
      abi: testValidationRegistryAbi,
      bytecode: testValidationRegistryBytecode,
      args,
    }),
  )
  const registries = { identity, reputation, validation }
  const calls = agentCalls(registries)
  const send = async (by: TestWallet, { target, data }: ContractCall) => {
    const hash = await by.client.sendTransaction({ to: target, data })
    const receipt = await client.waitForTransactionReceipt({ hash })
    assert.equal(receipt.status, 'success')
    return receipt
  }
  const register = async (by: TestWallet, uri: string, metadata?: Record<string, string>) =>
    registeredAgentId(registries, (await send(by, calls.register(uri, metadata))).logs)
  return {
    chain,
    client,
    registries,
    calls,
    send,
    register,
    node: await chain.wallet(),
    tenant: await chain.wallet(),
    auditor: await chain.wallet(),
  }
}
