/**
 * `npm run bench:vouchers -- [--quick]`: what paying by voucher costs. How many vouchers a CPU-second verifies, beside viem's
 * `verifyTypedData` in the same run; and how much later a request is answered that brings one, beside the same request by an
 * API key. Medians over the rounds count. The voucher's credit is written behind: nothing in the request waits for it.
 */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { secp256k1 } from '../src/io/keys/secp256k1.ts'
import { measurePaying } from './vouchers/paying.ts'
import { measureVerifying } from './vouchers/verifying.ts'
import { withPostgres, type Place } from './with-postgres.ts'

const BAR_PER_CPU_SECOND = 10_000
const BAR_ADDED_US = 300

const FULL = { rounds: 7, vouchers: 20_000, rival: 200, warmUp: 500, requests: 2_000 }
const QUICK = { rounds: 3, vouchers: 8_000, rival: 200, warmUp: 200, requests: 500 }

const { values: flags } = parseArgs({ options: { quick: { type: 'boolean', default: false } } })
const plan = flags.quick ? QUICK : FULL
process.exitCode = (await withPostgres(bench)) ? 0 : 1

async function bench({ postgres, home }: Place): Promise<boolean> {
  const databaseUrl = postgres.url
  const rounds = await measureVerifying(databaseUrl, plan)
  const ours = median(rounds.map(({ oursPerSecond }) => oursPerSecond))
  const viem = median(rounds.map(({ viemPerSecond }) => viemPerSecond))
  const p50Us = median(rounds.map((round) => round.p50Us))
  const p99Us = median(rounds.map((round) => round.p99Us))
  const paid = await measurePaying({ databaseUrl, home: join(home, 'gateway') }, plan)
  const addedUs = paid.voucherP50Us - paid.keyP50Us
  const fast = ours >= BAR_PER_CPU_SECOND
  const light = addedUs < BAR_ADDED_US
  console.log(`
Vouchers verified and counted, per CPU-second (${secp256k1.curve}, ${plan.rounds} rounds of ${plan.vouchers})

  ChannelBook.accept      ${cell(ours)}   p50 ${p50Us.toFixed(0)} µs, p99 ${p99Us.toFixed(0)} µs each
  viem verifyTypedData    ${cell(viem)}   one for ${(ours / viem).toFixed(0)} of ours

Requests end to end, one at a time, µs (${plan.requests} each)

                               p50        p99
  by API key              ${cell(paid.keyP50Us)} ${cell(paid.keyP99Us)}
  each with a voucher     ${cell(paid.voucherP50Us)} ${cell(paid.voucherP99Us)}

${mark(fast)} at least ${BAR_PER_CPU_SECOND} vouchers a CPU-second
${mark(light)} a voucher adds less than ${BAR_ADDED_US} µs to a request (p50): ${addedUs.toFixed(0)} µs
`)
  const figures = {
    perCpuSecond: Math.round(ours),
    viemPerCpuSecond: Math.round(viem),
    acceptP50Us: Math.round(p50Us),
    acceptP99Us: Math.round(p99Us),
    keyP50Us: Math.round(paid.keyP50Us),
    voucherP50Us: Math.round(paid.voucherP50Us),
    addedUs: Math.round(addedUs),
  }
  console.log(JSON.stringify({ bench: 'vouchers', pass: fast && light, figures }))
  return fast && light
}

function median(values: readonly number[]): number {
  const middle = values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]
  if (middle === undefined) throw new Error('nothing was measured')
  return middle
}

function cell(value: number): string {
  return value.toFixed(0).padStart(10)
}

function mark(ok: boolean): string {
  return ok ? '✓' : '✗'
}
