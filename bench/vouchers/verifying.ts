/** How many vouchers a CPU-second verifies: through `ChannelBook.accept`, and by viem's `verifyTypedData`. */
import { verifyTypedData } from 'viem'
import { isRefusal } from '../../src/core/base/refusal.ts'
import type { ChannelStore } from '../../src/io/store/channel-records.ts'
import { createPostgresStore } from '../../src/io/store/postgres-store.ts'
import { NO_LIMITS, type Store } from '../../src/io/store/store.ts'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { ChannelBook } from '../../src/programs/gateway/money/channel-book.ts'
import { noChain, Payer, viemDomain } from './payers.ts'

export type Verifying = {
  readonly oursPerSecond: number
  readonly viemPerSecond: number
  /** Wall time of one `accept`. */
  readonly p50Us: number
  readonly p99Us: number
}

const PAYERS = 200
const types = {
  Voucher: [
    { name: 'channelId', type: 'bytes32' },
    { name: 'maxClaimableAmount', type: 'uint128' },
  ],
} as const

/** Vouchers of many channels, in turns; credit is written behind to a store that answers at once. */
export async function measureVerifying(
  databaseUrl: string,
  plan: { readonly rounds: number; readonly vouchers: number; readonly rival: number },
): Promise<Verifying[]> {
  const store = await createPostgresStore({ url: databaseUrl, logger: silentLogger })
  const payers = Array.from({ length: PAYERS }, () => new Payer())
  const answering: Pick<ChannelStore, 'creditVouchers'> = {
    creditVouchers: (vouchers) => Promise.resolve(vouchers.map(() => 'credited' as const)),
  }
  const parts: Store = { ...store, ...answering }
  const book = new ChannelBook({
    chain: noChain(),
    store: parts,
    logger: silentLogger,
    minWithdrawDelayS: 900,
    stepUnits: 1_000n,
  })
  const account = 'acct_bench'
  await store.createAccount({ id: account, kind: 'tenant', name: 'bench', limits: NO_LIMITS })
  for (const payer of payers)
    await store.bindChannel(book.place, payer.channel(account, 1_000_000_000n))
  await book.load()
  const rounds: Verifying[] = []
  let ceiling = 0n
  for (let round = 0; round <= plan.rounds; round++) {
    const perPayer = Math.ceil(plan.vouchers / PAYERS)
    const vouchers = Array.from({ length: perPayer }, () => {
      ceiling += 1n
      return payers.map((payer) => payer.voucher(ceiling))
    }).flat()
    const times: number[] = []
    const before = process.cpuUsage()
    for (const voucher of vouchers) {
      const start = performance.now()
      const accepted = await book.accept(voucher)
      times.push(performance.now() - start)
      if (isRefusal(accepted)) throw new Error(accepted.message)
    }
    const oursPerSecond = vouchers.length / cpuSeconds(before)
    const viemPerSecond = await rival(payers, plan.rival)
    const sorted = times.toSorted((a, b) => a - b)
    const at = (share: number): number => (sorted[Math.floor(sorted.length * share)] ?? 0) * 1_000
    // The first round warms both up.
    if (round > 0) rounds.push({ oursPerSecond, viemPerSecond, p50Us: at(0.5), p99Us: at(0.99) })
  }
  await book.stop()
  await store.close()
  return rounds
}

async function rival(payers: readonly Payer[], count: number): Promise<number> {
  const vouchers = payers.slice(0, count).map((payer) => ({ payer, ...payer.voucher(1n) }))
  const before = process.cpuUsage()
  for (const { payer, channelId, maxClaimable, hex } of vouchers) {
    const valid = await verifyTypedData({
      address: payer.address,
      domain: viemDomain,
      types,
      primaryType: 'Voucher',
      message: { channelId, maxClaimableAmount: maxClaimable },
      signature: hex,
    })
    if (!valid) throw new Error('viem does not take our voucher')
  }
  return vouchers.length / cpuSeconds(before)
}

function cpuSeconds(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1e6
}
