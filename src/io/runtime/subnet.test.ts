import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { blockText, DEFAULT_POOL, freeBlocks, gatewayOf, parseBlock, readRoutes } from './subnet.ts'

const block = (text: string) => {
  const parsed = parseBlock(text)
  assert.ok(parsed)
  return parsed
}

describe('a block of addresses', () => {
  it('is read and written', () => {
    assert.equal(blockText(block('10.213.4.0/24')), '10.213.4.0/24')
    assert.equal(blockText(block('255.255.255.255/32')), '255.255.255.255/32')
    assert.equal(gatewayOf(block('10.213.4.0/24')), '10.213.4.1')
  })

  it('is nothing else', () => {
    for (const text of ['', 'fd00::/64', '10.0.0.0', '10.0.0.256/24', '10.0.0.0/33', ' 10.0.0.0/8'])
      assert.equal(parseBlock(text), null, text)
  })
})

describe('free blocks', () => {
  it('are all of the pool, each once, beginning anywhere', () => {
    const free = freeBlocks(block(DEFAULT_POOL), 'a', []).map(blockText)
    assert.equal(new Set(free).size, 256)
    assert.ok(free.every((text) => /^10\.213\.\d+\.0\/24$/.test(text)))
    assert.notEqual(free[0], freeBlocks(block(DEFAULT_POOL), 'b', []).map(blockText)[0])
    assert.deepEqual(free, freeBlocks(block(DEFAULT_POOL), 'a', []).map(blockText))
  })

  it('leave out what overlaps with something, larger or smaller', () => {
    const taken = ['10.213.0.0/17', '10.213.200.17/32', '10.214.0.0/16'].map(block)
    const free = freeBlocks(block(DEFAULT_POOL), 'a', taken).map(blockText)
    assert.equal(free.length, 127)
    assert.ok(!free.includes('10.213.200.0/24') && !free.includes('10.213.127.0/24'))
  })

  it('are none when the pool is smaller than one, or within something', () => {
    assert.deepEqual(freeBlocks(block(DEFAULT_POOL), 'a', [block('10.0.0.0/8')]), [])
  })
})

describe('the routes of this machine', () => {
  it('are read from the kernel, without the default one', () => {
    const table = [
      'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT',
      'eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0',
      'eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0',
      'br0\t0004D50A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n',
    ].join('\n')
    assert.deepEqual(readRoutes(table).map(blockText), ['192.0.2.0/24', '10.213.4.0/24'])
    assert.deepEqual(readRoutes(''), [])
  })
})
