/** The digests as the contracts themselves make them, on an anvil. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { hexOf, lowerHex, type Hex } from '../../core/base/hex.ts'
import type { ChannelConfig } from '../../core/ledger/channel-config.ts'
import { channelsAbi } from './abi/channels.ts'
import { leasesAbi } from './abi/leases.ts'
import { payoutsAbi } from './abi/payouts.ts'
import { testChain } from './local/test-chain.ts'
import { bid, bytes32, channelConfig, iou, order, uint } from './typed-data-kit.ts'
import { channelsTypedData, leasesTypedData, payoutsTypedData } from './typed-data.ts'

const one = <T>(of: fc.Arbitrary<T>, count = 10): T[] => fc.sample(of, count)

describe('typed data against the contracts', () => {
  it('of channels', async (t) => {
    const { client, addresses, chainId } = await testChain(t)
    const at = { address: addresses.channels, abi: channelsAbi } as const
    const data = channelsTypedData({ chainId, verifyingContract: lowerHex(addresses.channels) })
    const configs: ChannelConfig[] = one(channelConfig, 5)
    for (const config of configs)
      assert.equal(
        data.channelId(config),
        await client.readContract({ ...at, functionName: 'getChannelId', args: [config] }),
      )
    for (const id of one(bytes32)) {
      const [amount = 0n] = one(uint(128), 1)
      const [nonce = 0n] = one(uint(256), 1)
      const voucher = [id, amount] as const
      assert.equal(
        hexOf(data.voucherDigest(id, amount)),
        await client.readContract({ ...at, functionName: 'getVoucherDigest', args: voucher }),
      )
      const refund = [id, nonce, amount] as const
      assert.equal(
        hexOf(data.refundDigest(id, nonce, amount)),
        await client.readContract({ ...at, functionName: 'getRefundDigest', args: refund }),
      )
    }
    const claims = configs.map((channel) => ({
      voucher: { channel, maxClaimableAmount: one(uint(128), 1)[0] ?? 0n },
      signature: '0x' as Hex,
      totalClaimed: one(uint(128), 1)[0] ?? 0n,
    }))
    assert.equal(
      hexOf(
        data.claimBatchDigest(
          claims.map(({ voucher, totalClaimed }) => ({
            channelId: data.channelId(voucher.channel),
            maxClaimableAmount: voucher.maxClaimableAmount,
            totalClaimed,
          })),
        ),
      ),
      await client.readContract({ ...at, functionName: 'getClaimBatchDigest', args: [claims] }),
    )
  })

  it('of payouts and leases', async (t) => {
    const { client, addresses, chainId } = await testChain(t)
    const payouts = payoutsTypedData({ chainId, verifyingContract: addresses.payouts })
    for (const owed of one(iou)) {
      const args = [owed.gateway, owed.provider, owed.epoch, owed.cumulative] as const
      const functionName = 'iouDigest'
      const address = addresses.payouts
      const digest = await client.readContract({ address, abi: payoutsAbi, functionName, args })
      assert.equal(hexOf(payouts.iouDigest(owed)), digest)
    }
    const leases = leasesTypedData({ chainId, verifyingContract: addresses.leases })
    const at = { address: addresses.leases, abi: leasesAbi } as const
    for (const asked of one(order, 5)) {
      const args = [asked] as const
      const id = await client.readContract({ ...at, functionName: 'orderId', args })
      assert.equal(leases.orderId(asked), id)
      const digest = await client.readContract({ ...at, functionName: 'orderDigest', args })
      assert.equal(hexOf(leases.orderDigest(asked)), digest)
      const [offered] = one(bid, 1)
      const offer = [id, offered!] as const
      const bidDigest = await client.readContract({ ...at, functionName: 'bidDigest', args: offer })
      assert.equal(hexOf(leases.bidDigest(id, offered!)), bidDigest)
      const close = await client.readContract({ ...at, functionName: 'closeDigest', args: [id] })
      assert.equal(hexOf(leases.closeDigest(id)), close)
    }
  })
})
