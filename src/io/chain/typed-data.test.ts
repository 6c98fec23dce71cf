import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { hashStruct, hashTypedData } from 'viem'
import { bytesOf, hexOf } from '../../core/base/hex.ts'
import { channelsTypedData, leasesTypedData, payoutsTypedData } from './typed-data.ts'
import { batchOf, bid, bytes32, channelConfig, domain, iou, order, uint } from './typed-data-kit.ts'

const fields = (text: string) =>
  text.split(',').map((field) => {
    const [type = '', name = ''] = field.split(' ')
    return { type, name }
  })

const types = {
  ChannelConfig: fields(
    'address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt',
  ),
  Voucher: fields('bytes32 channelId,uint128 maxClaimableAmount'),
  ClaimBatch: fields('ClaimEntry[] claims'),
  ClaimEntry: fields('bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed'),
  Refund: fields('bytes32 channelId,uint256 nonce,uint128 amount'),
  Iou: fields('address gateway,address provider,uint32 epoch,uint128 cumulative'),
  Order: fields(
    'address tenant,address gateway,bytes32 terms,uint96 maxRate,uint128 deposit,uint32 minNotice,uint40 openBy,bytes32 salt',
  ),
  Bid: fields(
    'bytes32 order,address provider,bytes32 node,uint96 rate,uint32 notice,uint40 openBy',
  ),
  Close: fields('bytes32 lease'),
}

const viem = (
  name: string,
  { chainId, verifyingContract }: { chainId: number; verifyingContract: `0x${string}` },
  primaryType: keyof typeof types,
  message: Record<string, unknown>,
) =>
  hashTypedData({
    domain: { name, version: '1', chainId, verifyingContract },
    types,
    primaryType,
    message,
  })

describe('typed data', () => {
  it('hashes channels, vouchers, claims and refunds as viem does', () => {
    const x402 = 'x402 Batch Settlement'
    fc.assert(
      fc.property(
        domain,
        channelConfig,
        bytes32,
        uint(128),
        uint(256),
        batchOf(5),
        (at, config, channelId, amount, nonce, claims) => {
          const data = channelsTypedData(at)
          assert.equal(data.channelId(config), viem(x402, at, 'ChannelConfig', config))
          assert.equal(
            hexOf(data.voucherDigest(channelId, amount)),
            viem(x402, at, 'Voucher', { channelId, maxClaimableAmount: amount }),
          )
          assert.equal(
            hexOf(data.refundDigest(channelId, nonce, amount)),
            viem(x402, at, 'Refund', { channelId, nonce, amount }),
          )
          assert.equal(
            hexOf(data.claimBatchDigest(claims)),
            viem(x402, at, 'ClaimBatch', { claims }),
          )
        },
      ),
    )
  })

  it('hashes IOUs as viem does', () => {
    fc.assert(
      fc.property(domain, iou, (at, owed) => {
        assert.equal(
          hexOf(payoutsTypedData(at).iouDigest(owed)),
          viem('Baseload Payouts', at, 'Iou', owed),
        )
      }),
    )
  })

  it('hashes orders, bids and closings as viem does', () => {
    const name = 'Baseload Leases'
    fc.assert(
      fc.property(domain, order, bid, bytes32, (at, asked, offered, id) => {
        const data = leasesTypedData(at)
        assert.equal(
          data.orderId(asked),
          hashStruct({ types, primaryType: 'Order', data: { ...asked } }),
        )
        assert.equal(hexOf(data.orderDigest(asked)), viem(name, at, 'Order', asked))
        assert.equal(
          hexOf(data.bidDigest(id, offered)),
          viem(name, at, 'Bid', { order: id, ...offered }),
        )
        assert.equal(hexOf(data.closeDigest(id)), viem(name, at, 'Close', { lease: id }))
      }),
    )
  })

  it('refuses numbers that are none, and texts that are too long', () => {
    const data = channelsTypedData({ chainId: 1, verifyingContract: `0x${'11'.repeat(20)}` })
    const id = hexOf(bytesOf(`0x${'22'.repeat(32)}`))
    assert.throws(() => data.voucherDigest(id, -1n), RangeError)
    assert.throws(() => data.voucherDigest(id, 2n ** 256n), RangeError)
    assert.throws(() => data.voucherDigest(`${id}00`, 1n), RangeError)
    assert.throws(() => data.voucherDigest(`0x${'zz'.repeat(32)}`, 1n), RangeError)
  })
})
