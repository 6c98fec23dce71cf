import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { open as openFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import fc from 'fast-check'
import { NO_PREVIOUS, type Receipt } from '../../core/protocol/receipt.ts'
import { silentLogger } from '../../io/telemetry/logger.ts'
import { encodeRecord, readRecords } from './spool-record.ts'
import { openSpool, type Spool, type SpoolFile, type SpoolOptions } from './spool.ts'

describe('spool records', { timeout: 60_000 }, () => {
  it('come out as they went in, any text, and say what is torn at every byte', () => {
    const payload = fc
      .string({ unit: 'grapheme', maxLength: 40 })
      .filter((text) => !text.includes('\n'))
    fc.assert(
      fc.property(fc.array(payload, { minLength: 1, maxLength: 5 }), (payloads) => {
        const lines = payloads.map((text) => Buffer.from(encodeRecord('R', text)))
        const bytes = Buffer.concat(lines)
        const starts = lines.map((_, i) => Buffer.concat(lines.slice(0, i)).length)
        for (let cut = 0; cut <= bytes.length; cut++) {
          const whole = starts.filter((start, i) => start + (lines[i]?.length ?? 0) <= cut)
          const { records, tornBytes, damagedBytes } = readRecords(bytes.subarray(0, cut))
          assert.deepEqual(
            records.map((one) => one.payload),
            payloads.slice(0, whole.length),
          )
          assert.equal(tornBytes, cut - Buffer.concat(lines.slice(0, whole.length)).length)
          assert.equal(damagedBytes, 0)
        }
      }),
      { numRuns: 50 },
    )
  })

  it('survive any damage: what is whole is read, what is not is counted', () => {
    const bytes = Buffer.from(
      ['one', 'two', 'three'].map((text) => encodeRecord('R', text)).join(''),
    )
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const damaged = Buffer.from(bytes)
        damaged[at] = (damaged[at] ?? 0) ^ flip
        const { records, tornBytes, damagedBytes } = readRecords(damaged)
        assert.ok(tornBytes + damagedBytes > 0)
        assert.ok(records.length <= 2)
        for (const { payload } of records) assert.ok(['one', 'two', 'three'].includes(payload))
      }),
    )
  })
})

describe('spool', { timeout: 60_000 }, () => {
  it('goes on after a restart: receipts, acknowledgements and the chain', async (t) => {
    const { folder, reopen } = setup(t)
    const first = await reopen()
    assert.deepEqual(first.chain, { previous: NO_PREVIOUS, carry: 0 })
    write(first, 3)
    assert.deepEqual(
      (await first.flush()).map(({ id }) => id),
      ['rcpt_0', 'rcpt_1', 'rcpt_2'],
    )
    assert.deepEqual(
      first.acknowledge(['rcpt_1', 'rcpt_2', 'rcpt_9']).map(({ id }) => id),
      ['rcpt_1', 'rcpt_2'],
    )
    const { chain } = first
    await first.close()

    const second = await reopen()
    assert.deepEqual(
      second.durable().map(({ id }) => id),
      ['rcpt_0'],
    )
    assert.deepEqual(second.chain, chain, 'the chain goes on from a receipt that is acknowledged')
    second.acknowledge(['rcpt_0'])
    await second.close()

    const third = await reopen()
    assert.equal(third.unacknowledged, 0)
    assert.deepEqual(third.chain, chain)
    await third.close()
    assert.deepEqual(readdirSync(folder), ['receipts.log'])
  })

  it('cuts what a crash tore, wherever it did, and offers everything that was durable', async (t) => {
    const { folder, reopen } = setup(t)
    const path = join(folder, 'receipts.log')
    const whole = await reopen()
    write(whole, 2)
    await whole.flush()
    const durableBytes = statSync(path).size
    write(whole, 1, 2)
    await whole.close()
    const bytes = readFileSync(path)
    for (let cut = durableBytes; cut <= bytes.length; cut += cut + 40 < bytes.length ? 7 : 1) {
      writeFileSync(path, bytes.subarray(0, cut))
      const torn = await reopen()
      const expected = cut === bytes.length ? 3 : 2
      assert.equal(torn.unacknowledged, expected, `cut at ${cut}`)
      write(torn, 1, 5)
      assert.equal((await torn.flush()).length, 1)
      await torn.close()
      const { damagedBytes, tornBytes } = readRecords(readFileSync(path))
      assert.deepEqual([damagedBytes, tornBytes], [0, 0])
    }
  })

  it('keeps what a bad disk left readable, and the damaged file aside', async (t) => {
    const { folder, reopen } = setup(t)
    const path = join(folder, 'receipts.log')
    const spool = await reopen()
    write(spool, 3)
    await spool.close()
    const bytes = readFileSync(path)
    bytes[bytes.indexOf('rcpt_1')] = 0
    writeFileSync(path, bytes)
    const damaged = await reopen()
    assert.deepEqual(
      damaged.durable().map(({ id }) => id),
      ['rcpt_0', 'rcpt_2'],
    )
    await damaged.close()
    assert.deepEqual(readFileSync(`${path}.damaged`), bytes)
  })

  it('stays small when everything is acknowledged, and keeps what is not', async (t) => {
    const { folder, reopen } = setup(t)
    const spool = await reopen({ compactAboveBytes: 4096 })
    write(spool, 1)
    for (let i = 1; i <= 200; i++) {
      write(spool, 1, i)
      await spool.flush()
      spool.acknowledge([`rcpt_${i}`])
    }
    await spool.flush()
    assert.ok(statSync(join(folder, 'receipts.log')).size < 8192)
    const { chain } = spool
    await spool.close()
    const again = await reopen()
    assert.deepEqual(
      again.durable().map(({ id }) => id),
      ['rcpt_0'],
    )
    assert.deepEqual(again.chain, chain)
    await again.close()
  })

  it('refuses new work on a full disk, loses nothing, and recovers', async (t) => {
    const { reopen, disk } = setup(t)
    const spool = await reopen()
    write(spool, 1)
    await spool.flush()
    for (const roomBytes of [0, 1, 700]) {
      disk.roomBytes = roomBytes
      write(spool, 1, spool.unacknowledged)
      await assert.rejects(spool.flush(), { code: 'spool_unwritable', retryable: true })
      assert.match(spool.trouble ?? '', /no space left/)
      disk.roomBytes = Infinity
    }
    disk.syncFails = true
    await assert.rejects(spool.flush(), { code: 'spool_unwritable' })
    disk.syncFails = false
    assert.equal((await spool.flush()).length, 3)
    assert.equal(spool.trouble, null)
    const { chain } = spool
    await spool.close()
    const again = await reopen()
    assert.deepEqual(
      again.durable().map(({ id }) => id),
      ['rcpt_0', 'rcpt_1', 'rcpt_2', 'rcpt_3'],
    )
    assert.deepEqual(again.chain, chain)
    await again.close()
  })

  it('goes on with the old file when there is no room to compact', async (t) => {
    const { reopen, disk } = setup(t)
    const spool = await reopen({ compactAboveBytes: 1 })
    disk.newFilesFail = true
    write(spool, 2)
    await spool.flush()
    spool.acknowledge(['rcpt_0'])
    await spool.flush()
    assert.equal(spool.trouble, null)
    disk.newFilesFail = false
    await spool.close()
    const again = await reopen()
    assert.deepEqual(
      again.durable().map(({ id }) => id),
      ['rcpt_1'],
    )
    await again.close()
  })

  it('says so when too much waits, and never drops a receipt', async (t) => {
    const { reopen } = setup(t)
    const spool = await reopen({ limitBytes: 2500 })
    write(spool, 2)
    assert.equal(spool.trouble, null)
    write(spool, 3, 2)
    assert.match(spool.trouble ?? '', /5 receipts .* limit is 2500/)
    assert.equal((await spool.flush()).length, 5)
    spool.acknowledge(['rcpt_0', 'rcpt_1', 'rcpt_2', 'rcpt_3'])
    assert.equal(spool.trouble, null)
    await spool.close()
  })

  it('ignores the acknowledgement of a receipt it has not sent', async (t) => {
    const { reopen } = setup(t)
    const spool = await reopen()
    write(spool, 1)
    assert.deepEqual(spool.acknowledge(['rcpt_0']), [])
    assert.equal((await spool.flush()).length, 1)
    await spool.close()
  })

  it('will not fork its chain', async (t) => {
    const { reopen } = setup(t)
    const spool = await reopen()
    write(spool, 1)
    assert.throws(
      () => spool.append(receiptAt(1, { previous: NO_PREVIOUS, carry: 0 })),
      /goes on from/,
    )
    await spool.close()
  })
})

function write(spool: Spool, count: number, from = 0): void {
  for (let i = from; i < from + count; i++) spool.append(receiptAt(i, spool.chain))
}

function receiptAt(i: number, chain: { previous: string; carry: number }): Receipt {
  return {
    v: 1,
    id: `rcpt_${i}`,
    attempt: `att_${i}`,
    request: 'req_1',
    gateway: 'gw_1',
    node: 'node_1',
    nodeKey: 'key',
    api: 'chat',
    model: 'modèle',
    modelDigest: 'name:m',
    engine: 'fake/1',
    requestHash: NO_PREVIOUS,
    outputHash: NO_PREVIOUS,
    textHash: NO_PREVIOUS,
    choice: 0,
    seed: null,
    firstToken: 0,
    inputTokens: 1,
    billedInputTokens: 1,
    outputTokens: 1,
    finish: 'stop',
    startedAtMs: 1,
    finishedAtMs: 2,
    inputNanoUsdPerMTok: '7',
    outputNanoUsdPerMTok: '9',
    carryIn: chain.carry,
    carryOut: (chain.carry + 16) % 1_000_000,
    nanoUsd: '0',
    previous: chain.previous,
  }
}

const noSpace = () => Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })

/** A folder, and a disk that fails on demand. */
function setup(t: TestContext) {
  const root = mkdtempSync(join(tmpdir(), 'baseload-spool-'))
  t.after(() => rmSync(root, { recursive: true, force: true }))
  const folder = join(root, 'spool', 'gw_1')
  const disk = { roomBytes: Infinity, syncFails: false, newFilesFail: false }
  const open = async (path: string, flags: number): Promise<SpoolFile> => {
    if (disk.newFilesFail) throw noSpace()
    const file = await openFile(path, flags)
    return {
      // As a real disk: a write may be short, and only the next one says why.
      write: (bytes, from, length, at) => {
        const fits = Math.min(length, disk.roomBytes)
        if (fits === 0) throw noSpace()
        disk.roomBytes -= fits
        return file.write(bytes, from, fits, at)
      },
      datasync: async () => {
        if (disk.syncFails) throw new Error('input/output error')
        await file.datasync()
      },
      close: () => file.close(),
    }
  }
  const reopen = (more: Partial<SpoolOptions> = {}) =>
    openSpool({ folder, logger: silentLogger, open, ...more })
  return { folder, disk, reopen }
}
