import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { readRocmJson } from './gpu-amd.ts'

describe('rocm-smi --json', () => {
  it('is read whatever its release calls the keys', () => {
    const old = { 'GPU ID': '0x738c', 'Card series': 'Arcturus GL-XL [Instinct MI100]' }
    const now = { 'Device ID': '0x738c', 'Card Series': 'Instinct MI100', 'Card Model': '0x0c34' }
    const newest = { 'Device ID': '0x738c', 'Device Name': 'AMD Instinct MI100' }
    for (const names of [old, now, newest]) {
      const [gpu] = readRocmJson(outputOf(names))
      assert.deepEqual([gpu?.model, gpu?.index, gpu?.flaw], ['mi100', 3, null])
    }
  })

  it('goes by the device id where the name is a number, or of several boards', () => {
    const several = 'Navi 22 [Radeon RX 6700/6700 XT / 6800M]'
    for (const name of ['0x1002', several])
      assert.equal(modelOf({ 'Card series': name, 'GPU ID': '0x73df' }), 'rx6700xt')
    assert.equal(modelOf({ 'Card series': several, 'GPU ID': '0xffff' }), 'rx6700')
  })

  it('has a flaw without a model or memory', () => {
    assert.match(flawOf({ 'Card series': '0x1002' }), /what it is/)
    const memory = { 'VRAM Total Memory (B)': 'N/A' }
    assert.match(flawOf({ 'Card series': 'Instinct MI100', ...memory }), /memory/)
  })

  it('is nothing where it is another text', () => {
    const texts = ['', '{', '}{', '[]', 'null', '{"card0": 1}', '{"card0": {"a": 1}}', '{"x": {}}']
    for (const text of [...texts, 'x'.repeat(9_000_000)]) assert.deepEqual(readRocmJson(text), [])
  })
})

const outputOf = (fields: Readonly<Record<string, string>>): string =>
  JSON.stringify({ card3: { 'VRAM Total Memory (B)': '34342961152', ...fields } })
const modelOf = (fields: Readonly<Record<string, string>>) =>
  readRocmJson(outputOf(fields))[0]?.model
const flawOf = (fields: Readonly<Record<string, string>>) =>
  readRocmJson(outputOf(fields))[0]?.flaw ?? ''
