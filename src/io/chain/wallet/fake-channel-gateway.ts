/** For tests: a gateway that serves requests against vouchers, and checks each voucher as the contract would. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { text as readAll } from 'node:stream/consumers'
import { z } from 'zod'
import { bytesOf, isHex, type Address, type Hex } from '../../../core/base/hex.ts'
import { addressOf, secp256k1 } from '../../keys/secp256k1.ts'
import { channelsTypedData } from '../typed-data.ts'

const voucherBody = z.object({
  maxClaimableAmount: z.string().regex(/^\d+$/).transform(BigInt),
  signature: z.custom<Hex>((text) => isHex(text, 65)),
})

export type FakeChannel = {
  readonly id: Hex
  readonly payer: Address
  readonly balanceUnits: bigint
  ceilingUnits: bigint
  chargedUnits: bigint
  state: string
}

/** Any other path costs `priceUnits`, and answers with the request's body. */
export async function fakeChannelGateway(of: {
  readonly chainId: number
  readonly channels: Address
  readonly priceUnits: bigint
  readonly stepUnits: bigint
  /** Answers what it knows, and says whether it did. */
  readonly first?: (request: IncomingMessage, response: ServerResponse) => Promise<boolean>
  readonly onVoucher?: (id: Hex, ceiling: bigint, signature: Hex) => void
  /** What a request is answered with that was paid. */
  readonly answer?: (path: string, body: string, response: ServerResponse) => void
}) {
  const typed = channelsTypedData({ chainId: of.chainId, verifyingContract: of.channels })
  const known = new Map<Hex, FakeChannel>()
  const state = {
    /** Every voucher that was taken, in order. */
    vouchers: [] as { channelId: Hex; ceiling: bigint }[],
    requests: [] as { path: string; authorization: string | null }[],
    /** What the gateway does with the next voucher: nothing is answered, before or after it was taken. */
    dropVoucher: null as 'before' | 'after' | null,
    /** What it asks for, in place of what it needs. */
    greed: null as bigint | null,
    served: 0,
  }

  async function take(id: Hex, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const channel = known.get(id)
    if (!channel) return refuse(response, 404, 'channel_unknown')
    const { maxClaimableAmount, signature } = voucherBody.parse(JSON.parse(await readAll(request)))
    if (state.dropVoucher === 'before') return void request.socket.destroy()
    const digest = typed.voucherDigest(id, maxClaimableAmount)
    const key = secp256k1.recover(digest, bytesOf(signature))
    if (key === null || addressOf(key) !== channel.payer)
      return refuse(response, 400, 'voucher_signature_invalid')
    if (maxClaimableAmount > channel.balanceUnits)
      return refuse(response, 402, 'voucher_above_deposit')
    if (maxClaimableAmount <= channel.ceilingUnits) return refuse(response, 409, 'voucher_stale')
    channel.ceilingUnits = maxClaimableAmount
    of.onVoucher?.(id, maxClaimableAmount, signature)
    state.vouchers.push({ channelId: id, ceiling: maxClaimableAmount })
    if (state.dropVoucher === 'after') return void request.socket.destroy()
    sendJson(response, 200, channelJson(channel))
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? ''
    state.requests.push({ path, authorization: request.headers.authorization ?? null })
    const [, id] = /^\/v1\/channels\/(0x[0-9a-f]{64})\/vouchers$/.exec(path) ?? []
    if (isHex(id, 32)) return take(id, request, response)
    if (path === '/v1/channels' && request.method === 'GET')
      return sendJson(response, 200, { data: [...known.values()].map(channelJson) })
    if (await of.first?.(request, response)) return
    const body = await readAll(request)
    const channel = [...known.values()].find((one) => one.state === 'open')
    if (!channel) return refuse(response, 402, 'insufficient_balance')
    const need = channel.chargedUnits + of.priceUnits
    if (need > channel.ceilingUnits || state.greed !== null)
      return refuse(response, 402, 'voucher_needed', {
        channelId: channel.id,
        needCeiling: String(state.greed ?? need),
        step: String(of.stepUnits),
      })
    channel.chargedUnits = need
    state.served += 1
    if (of.answer) return of.answer(path, body, response)
    sendJson(response, 200, { path, body })
  }

  const server = createServer((request, response) => void serve(request, response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const bound = server.address()
  return {
    state,
    url: `http://127.0.0.1:${typeof bound === 'object' ? bound?.port : 0}`,
    channel: (id: Hex) => known.get(id),
    know: (channel: Pick<FakeChannel, 'id' | 'payer' | 'balanceUnits'>): FakeChannel => {
      const one = { ...channel, ceilingUnits: 0n, chargedUnits: 0n, state: 'open' }
      known.set(channel.id, one)
      return one
    },
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

export const channelJson = (channel: FakeChannel) => ({
  id: channel.id,
  state: channel.state,
  deposit: String(channel.balanceUnits),
  ceiling: String(channel.ceilingUnits),
  charged: String(channel.chargedUnits),
  claimed: '0',
})

function refuse(response: ServerResponse, status: number, code: string, details?: object): void {
  sendJson(response, status, { error: { message: `fake: ${code}`, type: 'x', code, details } })
}

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}
