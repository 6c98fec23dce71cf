import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { getAddress, parseAbi } from 'viem'
import { channelsAbi } from '../abi/channels.ts'
import { eip3009CollectorAbi } from '../abi/eip3009-collector.ts'
import { mockUsdcAbi } from '../abi/mock-usdc.ts'
import { payoutsAbi } from '../abi/payouts.ts'
import { X402_CHANNELS, X402_COLLECTOR } from '../addresses.ts'
import { deployContracts } from './deploy.ts'
import { testChain } from './test-chain.ts'

const ownedAbi = parseAbi([
  'function owner() view returns (address)',
  'function token() view returns (address)',
  'function paused() view returns (bool)',
])

describe('the contracts on a chain of one’s own', { timeout: 60_000 }, () => {
  it('stand where x402’s clients look for them, and know each other', async (t) => {
    const { client, addresses, guardian } = await testChain(t)
    assert.equal(addresses.channels, X402_CHANNELS)
    const read = {
      abi: eip3009CollectorAbi,
      address: X402_COLLECTOR,
      functionName: 'channels',
    } as const
    assert.equal(await client.readContract(read), X402_CHANNELS)
    for (const name of ['channels', 'leases', 'payouts', 'stakes'] as const) {
      const of = { abi: ownedAbi, address: addresses[name] }
      assert.equal(await client.readContract({ ...of, functionName: 'owner' }), guardian.address)
      assert.equal(
        await client.readContract({ ...of, functionName: 'token' }),
        getAddress(addresses.token),
      )
    }
  })

  it('sign typed data for the address they stand at', async (t) => {
    const { client, addresses } = await testChain(t)
    const [, name, version, chainId, verifyingContract] = await client.readContract({
      abi: channelsAbi,
      address: addresses.channels,
      functionName: 'eip712Domain',
    })
    assert.deepEqual(
      { name, version, chainId, verifyingContract },
      {
        name: 'x402 Batch Settlement',
        version: '1',
        chainId: 31_337n,
        verifyingContract: X402_CHANNELS,
      },
    )
  })

  it('are deployed once, however often that is asked for', async (t) => {
    const chain = await testChain(t)
    const before = await chain.client.getTransactionCount({ address: chain.guardian.address })
    const again = await deployContracts(chain, {
      guardian: chain.guardian.account,
      auditors: chain.auditors.map(({ address }) => address),
    })
    assert.deepEqual(again, chain.addresses)
    const after = await chain.client.getTransactionCount({ address: chain.guardian.address })
    assert.equal(after, before)
  })

  it('take test dollars of a fresh wallet', async (t) => {
    const chain = await testChain(t)
    const { client, addresses } = chain
    const wallet = await chain.wallet('1', 5_000_000n)
    const token = { abi: mockUsdcAbi, address: addresses.token } as const
    const balance = { ...token, functionName: 'balanceOf', args: [wallet.address] } as const
    assert.equal(await client.readContract(balance), 5_000_000n)
    await wallet.client.writeContract({
      ...token,
      functionName: 'approve',
      args: [addresses.payouts, 2_000_000n],
    })
    await wallet.client.writeContract({
      abi: payoutsAbi,
      address: addresses.payouts,
      functionName: 'fund',
      args: [wallet.address, 2_000_000n],
    })
    assert.equal(await client.readContract(balance), 3_000_000n)
  })

  it('belong to one test: another’s chain has another history', async (t) => {
    const [one, two] = [await testChain(t), await testChain(t)]
    await one.mine(3)
    assert.equal((await one.client.getBlockNumber()) - (await two.client.getBlockNumber()), 3n)
    await one.reorganise(2)
  })
})
