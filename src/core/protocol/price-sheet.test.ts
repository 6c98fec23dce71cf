import assert from 'node:assert/strict'
import { generateKeyPairSync, sign, verify } from 'node:crypto'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { parseUsd } from '../base/money.ts'
import { priceFor } from '../base/rate.ts'
import { isRefusal } from '../base/refusal.ts'
import {
  BID_DOMAIN,
  bidSchema,
  checkBid,
  MAX_BID_MS,
  signedBidSchema,
  totalRate,
  type Bid,
  type SignedBid,
} from './bid.ts'
import { capacitySchema, gpuMeets, gpuName, vramGib, type Gpu } from './capacity.ts'
import type { Group } from './group.ts'
import { checkLease, groupText, leaseSchema, leaseText, type Lease } from './lease.ts'
import {
  globMatches,
  priceGroup,
  priceSheetSchema,
  readPrices,
  type PriceSheet,
} from './price-sheet.ts'

const GIB = 2 ** 30

describe('a GPU', () => {
  it('is as large as it is sold, and told so', () => {
    const told = {
      81_559: 80,
      81_920: 80,
      23_028: 24,
      24_564: 24,
      15_360: 16,
      143_771: 141,
      9_856: 10,
    }
    for (const [mib, gib] of Object.entries(told)) assert.equal(vramGib(Number(mib) * 2 ** 20), gib)
    assert.equal(gpuName(aGpu()), 'nvidia h100 80 GiB sxm')
  })

  it('does for who asks for it, its vendor, or less memory', () => {
    const wanted = { vendor: 'nvidia', model: null, ramBytes: null, interface: null }
    assert.ok(gpuMeets(aGpu(), wanted))
    assert.ok(gpuMeets(aGpu(), { ...wanted, model: 'h100', ramBytes: 80 * GIB, interface: 'sxm' }))
    assert.ok(!gpuMeets(aGpu(), { ...wanted, ramBytes: 94 * GIB }))
    assert.ok(!gpuMeets(aGpu(), { ...wanted, interface: 'pcie' }))
    assert.ok(!gpuMeets(aGpu(), { ...wanted, vendor: 'amd' }))
  })

  it('is whole for who names no memory', () => {
    const slice = { ...aGpu(), mig: '1g.10gb', vramBytes: 10 * GIB }
    const wanted = { vendor: 'nvidia', model: 'h100', ramBytes: null, interface: null }
    assert.ok(!gpuMeets(slice, wanted))
    assert.ok(gpuMeets(slice, { ...wanted, ramBytes: 10 * GIB }))
  })
})

describe('a capacity', () => {
  it('is parsed with limits', () => {
    assert.ok(capacitySchema.safeParse(aCapacity()).success)
    const gpu = { ...aGpu(), count: 1 }
    const bad = [
      { gpus: [gpu, gpu] },
      { gpus: [{ ...gpu, count: 0 }] },
      { persistent: [{ class: 'ram', bytes: 1 }] },
      { memoryBytes: -1 },
      { noticeS: 10_000_000 },
      { attributes: Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`k${i}`, 'v'])) },
      { extra: 1 },
    ]
    for (const more of bad)
      assert.ok(
        !capacitySchema.safeParse({ ...aCapacity(), ...more }).success,
        JSON.stringify(more),
      )
  })
})

describe('a price sheet', () => {
  it('prices a group as the provider thinks', () => {
    const price = priceGroup(readPrices(aSheet()), aGroup(), [aGpu(), null])
    assert.ok('total' in price)
    // 4 threads, 16 + 2 GiB of memory, 10 + 100 GiB of disk, two GPUs, a port; and twice a thread with its 0.5 GiB.
    const first = 4 * 1.6 + 18 * 0.8 + 10 * 0.02 + 100 * 0.04 + 2 * 1000 + 0.05
    assert.equal(usd(price.unitRates[0]), first.toFixed(6))
    assert.equal(usd(price.unitRates[1]), (1.6 + 0.4).toFixed(6))
    assert.equal(usd(price.total), (first + 2 * 2).toFixed(6))
  })

  it('takes the GPU rule that spells out most, whatever their order', () => {
    const rules = ['*', 'h*', 'h100', '*/80Gi/sxm', 'h100/80Gi', 'h100/80Gi/sxm']
    fc.assert(
      fc.property(fc.shuffledSubarray(rules, { minLength: 1 }), (some) => {
        const gpu = Object.fromEntries(some.map((rule) => [rule, String(rules.indexOf(rule))]))
        const most = Math.max(...some.map((rule) => rules.indexOf(rule)))
        assert.equal(readPrices(aSheet({ gpu })).gpu(aGpu()), BigInt(most) * 1_000_000_000n)
      }),
    )
  })

  it('has no price for what it does not name', () => {
    const { beta3: _none, ...storageGiB } = aSheet().storageGiB
    const noDisk = priceGroup(readPrices(aSheet({ storageGiB })), aGroup(), [aGpu(), null])
    assert.deepEqual(noDisk, { unpriced: 'storage class beta3' })
    const noGpu = priceGroup(readPrices(aSheet({ gpu: { l4: '1' } })), aGroup(), [aGpu(), null])
    assert.deepEqual(noGpu, { unpriced: 'GPU h100' })
  })

  it('is parsed with limits', () => {
    assert.ok(priceSheetSchema.safeParse(aSheet()).success)
    const bad = [
      { cpuThread: '-1' },
      { cpuThread: '1e3' },
      { cpuThread: '1000001' },
      { per: 'week' },
      { gpu: { 'h100/x/y/z': '1' } },
      { gpu: { H100: '1' } },
      { gpu: Object.fromEntries(Array.from({ length: 501 }, (_, i) => [`g${i}`, '1'])) },
    ]
    for (const more of bad)
      assert.ok(!priceSheetSchema.safeParse({ ...aSheet(), ...more }).success, JSON.stringify(more))
  })
})

describe('a glob', () => {
  it('matches as a regular expression would, in no more than linear time', () => {
    const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 8 })
    const text = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 8 })
    fc.assert(
      fc.property(pattern, text, (glob, one) => {
        const expected = new RegExp(`^${glob.replaceAll('*', '.*')}$`).test(one)
        assert.equal(globMatches(glob, one), expected)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('a bid', () => {
  it('answers each unit, on a GPU that it asked for, under its ceiling', () => {
    assert.ok(bidSchema.safeParse(aBid()).success)
    assert.equal(checkBid(aBid(), aGroup(), 10), null)
    const [gpuUnit, plain] = aBid().units
    assert.ok(gpuUnit && plain)
    const bad: Partial<Bid>[] = [
      { expiresAtMs: 10 },
      { expiresAtMs: MAX_BID_MS + 1 },
      { noticeS: 10 },
      { units: [gpuUnit] },
      { units: [plain, gpuUnit] },
      { units: [{ ...gpuUnit, gpu: null }, plain] },
      { units: [gpuUnit, { ...plain, gpu: aGpu() }] },
      { units: [{ ...gpuUnit, gpu: { ...aGpu(), model: 'l4' } }, plain] },
      { units: [gpuUnit, { ...plain, rate: '1000001' }] },
    ]
    for (const more of bad)
      assert.ok(checkBid({ ...aBid(), ...more }, aGroup(), 10), JSON.stringify(more))
    assert.equal(totalRate(aGroup(), aBid().units), 1_000_000n + 2n * 500_000n)
  })
})

describe('a signed bid', () => {
  it('is checked by the bytes that were sent', () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    const bid = JSON.stringify(aBid())
    const signature = sign(null, Buffer.from(BID_DOMAIN + bid), privateKey).toString('base64url')
    const sent: SignedBid = signedBidSchema.parse({ bid, signature })
    const isGenuine = (text: string) =>
      verify(null, Buffer.from(text), publicKey, Buffer.from(sent.signature, 'base64url'))
    assert.ok(isGenuine(BID_DOMAIN + sent.bid))
    assert.ok(!isGenuine(sent.bid))
    assert.deepEqual(bidSchema.parse(JSON.parse(sent.bid)), aBid())
  })
})

describe('a lease', () => {
  it('says what the group asked for, priced as its parts are', () => {
    assert.ok(leaseSchema.safeParse(aLease()).success)
    assert.equal(checkLease(aLease(), aGroup(), hash), null)
    const bad: Partial<Lease>[] = [
      { groupHash: '1'.repeat(64) },
      { rate: '1' },
      { noticeS: 1 },
      { units: aBid().units.slice(1) },
    ]
    for (const more of bad)
      assert.ok(
        isRefusal(checkLease({ ...aLease(), ...more }, aGroup(), hash)),
        JSON.stringify(more),
      )
    assert.deepEqual(JSON.parse(leaseText(aLease())), aLease())
  })
})

/** Any function of the text will do here. */
const hash = (text: string): string => String(text.length).padStart(64, '0')

const usd = (rate: bigint | undefined): string =>
  (Number(priceFor(rate ?? 0n, 'month')) / 1e9).toFixed(6)

const aGpu = (): Gpu => ({
  vendor: 'nvidia',
  model: 'h100',
  vramBytes: 81_559 * 2 ** 20,
  interface: 'sxm',
  mig: null,
})

const aCapacity = () => ({
  runtime: 'docker/27.3.1',
  isolation: 'container',
  cpuArch: 'amd64',
  cpuMilli: 8000,
  memoryBytes: 32 * GIB,
  ephemeralBytes: 100 * GIB,
  persistent: [{ class: 'beta3', bytes: GIB }],
  gpus: [{ ...aGpu(), count: 8 }],
  ips: 0,
  attributes: { region: 'eu' },
  tier: 'community',
  region: 'eu-de',
  egress: { mbitPerSecond: 100, gibPerMonth: null },
  cachedImages: [],
  noticeS: 3600,
})

const aSheet = (more: Partial<PriceSheet> = {}): PriceSheet => ({
  per: 'month',
  cpuThread: '1.60',
  memoryGiB: '0.80',
  storageGiB: { ephemeral: '0.02', beta3: '0.04' },
  gpu: { h100: '1000', '*': '100' },
  port: '0.05',
  ip: '5',
  ...more,
})

const endpoints = { sharedHttp: 1, randomPort: 0, leasedIp: 0 }

const aGroup = (): Group => ({
  name: 'app',
  attributes: {},
  signedBy: { anyOf: [], allOf: [] },
  units: [
    {
      id: 1,
      resources: {
        cpuMilli: 4000,
        cpuArch: null,
        memoryBytes: 16 * GIB,
        volumes: [
          { name: 'default', bytes: 10 * GIB, persistent: false, class: 'default' },
          { name: 'data', bytes: 100 * GIB, persistent: true, class: 'beta3' },
          { name: 'shm', bytes: 2 * GIB, persistent: false, class: 'ram' },
        ],
        gpu: {
          units: 2,
          anyOf: [{ vendor: 'nvidia', model: 'h100', ramBytes: null, interface: null }],
        },
      },
      count: 1,
      endpoints: { ...endpoints, randomPort: 1 },
      maxRate: String(parseUsd('0.001')),
    },
    {
      id: 2,
      resources: {
        cpuMilli: 1000,
        cpuArch: null,
        memoryBytes: GIB / 2,
        volumes: [],
        gpu: null,
      },
      count: 2,
      endpoints,
      maxRate: '1000000',
    },
  ],
  minNoticeS: 600,
})

const aBid = (): Bid => ({
  v: 1,
  id: 'bid_1',
  order: 'lease_1',
  node: 'node_1',
  tenant: 'acct_1',
  gateway: 'gw_1',
  groupHash: 'a'.repeat(64),
  units: [
    { unit: 1, gpu: aGpu(), rate: '1000000' },
    { unit: 2, gpu: null, rate: '500000' },
  ],
  noticeS: 3600,
  issuedAtMs: 0,
  expiresAtMs: 60_000,
})

const aLease = (): Lease => ({
  v: 1,
  id: 'lease_1',
  epoch: 1,
  deployment: 'dep_1',
  tenant: 'acct_1',
  node: 'node_1',
  gateway: 'gw_1',
  groupHash: hash(groupText(aGroup())),
  units: aBid().units,
  rate: '2000000',
  noticeS: 3600,
  issuedAtMs: 0,
  acceptByMs: 1000,
})
