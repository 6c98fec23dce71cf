import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { hexOf, type Address } from '../../core/base/hex.ts'
import type { Iou } from '../../core/protocol/payout.ts'
import { payoutsTypedData } from '../../io/chain/typed-data.ts'
import { addressOf, secp256k1 } from '../../io/keys/secp256k1.ts'
import { silentLogger } from '../../io/telemetry/logger.ts'
import { bestIou, readIouFiles } from './iou-file.ts'
import { IOU_LAG_MS, IOU_LAG_NANO_USD, IouDrawer, MAX_DEBTORS } from './ious.ts'

const GATEWAY = { gateway: 'gw_a', url: 'https://user:secret@gateway.example/' }
const PAYOUTS: Address = `0x${'c'.repeat(40)}`
const ME: Address = `0x${'a'.repeat(40)}`
const key = secp256k1.makeSecretKey()

describe('IOUs of a node', () => {
  it('are kept, the best one, in a private file, over restarts', async (t) => {
    const { drawer, folder, again } = setup(t)
    drawer.heard(GATEWAY, iou({ cumulative: '500' }))
    drawer.heard(GATEWAY, iou({ cumulative: '900' }))
    await drawer.close()
    const [file] = readIouFiles(folder)
    assert.ok(file)
    assert.deepEqual([bestIou(file)?.cumulative, file.url], ['900', 'https://gateway.example'])
    const [name] = [`31337-${PAYOUTS}-${file.gateway}-${ME}.json`]
    assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600)
    assert.equal(statSync(folder).mode & 0o777, 0o700)
    const later = again()
    later.heard(GATEWAY, iou({ cumulative: '700' }))
    await later.close()
    assert.equal(bestIou(readIouFiles(folder)[0]!)?.cumulative, '900')
  })

  it('of earlier epochs are kept for challenging their roots', async (t) => {
    const { drawer, folder } = setup(t)
    for (const epoch of [1, 2, 3, 4, 5, 6])
      drawer.heard(GATEWAY, iou({ epoch, cumulative: String(epoch * 100) }))
    // The same money under a later epoch is worth less: the older one stays.
    drawer.heard(GATEWAY, iou({ epoch: 7, cumulative: '600' }))
    await drawer.close()
    const [file] = readIouFiles(folder)
    assert.ok(file)
    assert.deepEqual(
      file.ious.map(({ epoch }) => epoch),
      [6, 5, 4, 3],
    )
    assert.equal(bestIou(file, 5)?.cumulative, '500')
    assert.equal(bestIou(file, 2), null)
  })

  it('that are worth nothing are not kept, and the provider hears why', async (t) => {
    const { drawer, folder, said } = setup(t)
    drawer.heard(GATEWAY, { ...iou({}), cumulative: '999999' })
    drawer.heard(GATEWAY, { ...iou({}), signature: `0x${'11'.repeat(65)}` })
    drawer.heard(GATEWAY, iou({ provider: `0x${'b'.repeat(40)}` }))
    await drawer.close()
    assert.deepEqual(readIouFiles(folder), [])
    assert.equal(said.filter((line) => line.includes('is not signed by')).length, 1, 'told once')
    assert.ok(said.some((line) => line.includes('made out to 0xbbbb')))
  })

  it('fill no disk, whatever keys a gateway invents', async (t) => {
    const { drawer, folder } = setup(t)
    for (let i = 0; i < MAX_DEBTORS + 3; i++)
      drawer.heard(GATEWAY, iou({}, secp256k1.makeSecretKey()))
    await drawer.close()
    assert.equal(readIouFiles(folder).length, MAX_DEBTORS)
  })

  it('that stay behind what the gateway acknowledged are complained of, with the numbers', async (t) => {
    const { drawer, said, pass } = setup(t)
    drawer.heard(GATEWAY, iou({ cumulative: '1000', feeBps: 1_000 }))
    pass(60_000)
    // $0.012 less a fee of 10 % is $0.0108, and the IOU does not move.
    drawer.acknowledged('gw_a', 12_000_000n)
    drawer.acknowledged('gw_a', 0n)
    assert.ok(!said.some((line) => line.includes('is missing')), 'a moment is granted')
    pass(IOU_LAG_MS)
    drawer.acknowledged('gw_a', 0n)
    const complaint = said.find((line) => line.includes('is missing'))
    assert.match(complaint ?? '', /earned \$0\.0108 .* grew by \$0\.00; \$0\.0108 is missing/)
    await drawer.close()
  })

  it('that keep up, up to the bound, are no reason to complain', async (t) => {
    const { drawer, said, pass } = setup(t)
    drawer.heard(GATEWAY, iou({ cumulative: '1000' }))
    pass(60_000)
    drawer.acknowledged('gw_a', IOU_LAG_NANO_USD)
    pass(IOU_LAG_MS)
    drawer.acknowledged('gw_a', 0n)
    assert.ok(!said.some((line) => line.includes('is missing')), 'at the bound')
    drawer.acknowledged('gw_a', 1n)
    pass(IOU_LAG_MS)
    drawer.acknowledged('gw_a', 0n)
    assert.ok(
      said.some((line) => line.includes('is missing')),
      'above it',
    )
    await drawer.close()
  })

  it('are missed when a gateway pays and signs nothing', async (t) => {
    const { drawer, said } = setup(t)
    drawer.acknowledged('gw_a', IOU_LAG_NANO_USD)
    assert.deepEqual(said, [])
    drawer.acknowledged('gw_a', 1n)
    assert.match(said[0] ?? '', /signs no IOUs/)
    await drawer.close()
  })

  it('in a file that cannot be read stop the start: it may be worth money', (t) => {
    const { folder, again } = setup(t)
    rmSync(folder, { recursive: true, force: true })
    const broken = mkdtempSync(join(tmpdir(), 'baseload-ious-'))
    t.after(() => rmSync(broken, { recursive: true, force: true }))
    writeFileSync(join(broken, 'x.json'), '{')
    assert.throws(() => again(broken), { code: 'iou_unreadable' })
    assert.equal(readFileSync(join(broken, 'x.json'), 'utf8'), '{')
  })
})

function iou(more: Partial<Iou>, secret: Uint8Array = key): Iou {
  const gateway = addressOf(secp256k1.publicKeyOf(secret))
  const fields = { chainId: 31_337, payouts: PAYOUTS, gateway, provider: ME, epoch: 1, ...more }
  const cumulative = more.cumulative ?? '100'
  const typed = payoutsTypedData({ chainId: 31_337, verifyingContract: PAYOUTS })
  const digest = typed.iouDigest({ ...fields, cumulative: BigInt(cumulative) })
  const signature = hexOf(secp256k1.sign(digest, secret))
  return { kind: 'iou', feeBps: 0, ...fields, cumulative, signature }
}

function setup(t: TestContext) {
  const folder = join(mkdtempSync(join(tmpdir(), 'baseload-ious-')), 'ious')
  t.after(() => rmSync(join(folder, '..'), { recursive: true, force: true }))
  let at = 1_700_000_000_000
  const said: string[] = []
  const again = (other = folder) =>
    new IouDrawer({
      folder: other,
      addresses: [ME],
      now: () => at,
      say: (line) => void said.push(line),
      logger: silentLogger,
    })
  return { folder, said, again, drawer: again(), pass: (ms: number) => void (at += ms) }
}
