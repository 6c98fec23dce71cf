/** For tests: a chain, a gateway on it that keeps what it promises, and the command line with a wallet's password. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { text as readAll } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { isHex, lowerHex, type Hex } from '../../../core/base/hex.ts'
import type { ChannelConfig } from '../../../core/ledger/channel-config.ts'
import { channelsAbi } from '../../../io/chain/abi/channels.ts'
import {
  channelJson,
  fakeChannelGateway,
  sendJson,
} from '../../../io/chain/wallet/fake-channel-gateway.ts'
import type { TestChain, TestWallet } from '../../../io/chain/local/test-chain.ts'
import { channelsTypedData } from '../../../io/chain/typed-data.ts'

export const FINALITY = 2
export const STEP = 50_000n
export const PRICE = 20_000n

const bindBody = z.object({
  config: z.custom<ChannelConfig>(),
  voucher: z.object({ maxClaimableAmount: z.string() }),
})

/** Serves chat for 0.02 a request; closes channels as a gateway does: claims what was spent, refunds the rest. */
export async function fakeSettlingGateway(chain: TestChain, operator: TestWallet) {
  const { addresses, chainId, client } = chain
  const channels = lowerHex(addresses.channels)
  const configs = new Map<Hex, ChannelConfig>()
  const lastVouchers = new Map<Hex, { ceiling: bigint; signature: Hex }>()
  const facts = {
    object: 'chain',
    chain_id: chainId,
    token: { address: addresses.token, symbol: 'USDC', decimals: 6 },
    contracts: { channels: addresses.channels, collector: addresses.collector as Hex | null },
    operator: operator.address,
    finality_depth: FINALITY,
    min_withdraw_delay_seconds: 900,
    voucher_step: String(STEP),
    test_money: true,
    rpc_url: chain.url as string | null,
  }
  const state = { facts, bound: 0, refuseBinding: 0 }

  async function bind(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { config } = bindBody.parse(JSON.parse(await readAll(request)))
    if (state.refuseBinding > 0) {
      state.refuseBinding -= 1
      const error = { code: 'deposit_not_final', message: 'The deposit is not final yet.' }
      return sendJson(response, 503, { error })
    }
    const id = channelsTypedData({ chainId, verifyingContract: channels }).channelId(config)
    const of = { abi: channelsAbi, address: channels, functionName: 'channels' } as const
    const [balanceUnits] = await client.readContract({ ...of, args: [id] })
    configs.set(id, config)
    state.bound += 1
    sendJson(response, 201, channelJson(gateway.know({ id, payer: config.payer, balanceUnits })))
  }

  function close(id: Hex, response: ServerResponse): void {
    const channel = gateway.channel(id)
    const config = configs.get(id)
    if (!channel || !config)
      return sendJson(response, 404, { error: { code: 'channel_unknown', message: 'unknown' } })
    if (channel.state === 'open') {
      channel.state = 'closing'
      void settle(id, config, channel.chargedUnits)
    }
    sendJson(response, 202, channelJson(channel))
  }

  async function settle(id: Hex, config: ChannelConfig, spent: bigint): Promise<void> {
    const of = { abi: channelsAbi, address: channels } as const
    const { ceiling, signature } = lastVouchers.get(id) ?? { ceiling: 0n, signature: '0x' as const }
    if (spent > 0n)
      await operator.client.writeContract({
        ...of,
        functionName: 'claim',
        args: [
          [
            {
              voucher: { channel: config, maxClaimableAmount: ceiling },
              signature,
              totalClaimed: spent,
            },
          ],
        ],
      })
    await operator.client.writeContract({
      ...of,
      functionName: 'refund',
      args: [config, 2n ** 127n],
    })
    await chain.mine(FINALITY)
  }

  const gateway = await fakeChannelGateway({
    chainId,
    channels,
    priceUnits: PRICE,
    stepUnits: STEP,
    async first(request, response) {
      const path = request.url ?? ''
      if (path === '/v1/models') sendJson(response, 200, { data: [{ id: 'bard' }] })
      if (path === '/v1/chain') sendJson(response, 200, facts)
      if (path === '/v1/channels') await bind(request, response)
      const [, id] = /^\/v1\/channels\/(0x[0-9a-f]{64})\/close$/.exec(path) ?? []
      if (isHex(id, 32)) close(id, response)
      return response.writableEnded
    },
    onVoucher: (id, ceiling, signature) => lastVouchers.set(id, { ceiling, signature }),
    answer(_path, _body, response) {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      const choices = [{ index: 0, delta: { content: 'A friend.' } }]
      response.end(`data: ${JSON.stringify({ model: 'bard', choices })}\n\ndata: [DONE]\n\n`)
    },
  })
  return { ...gateway, desk: state }
}

/** Makes blocks until the test ends: deposits become final. */
export function keepMining(chain: TestChain): () => Promise<void> {
  const stop = new AbortController()
  const ended = (async () => {
    while (!stop.signal.aborted) {
      await chain.mine()
      await sleep(150, undefined, { signal: stop.signal })
    }
  })().catch(() => {})
  return async () => {
    stop.abort()
    await ended
  }
}
