import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { StepGate } from './step-gate.ts'

const timeout = 5000

describe('StepGate', { timeout }, () => {
  it('lets one step in at a time when exact, in the order they came', async () => {
    const { gate, log, work } = setup({ shared: false })
    await Promise.all([gate.step(work('a')), gate.step(work('b')), gate.alone(work('c'))])
    assert.deepEqual(log, ['a+', 'a-', 'b+', 'b-', 'c+', 'c-'])
  })

  it('lets steps in together when shared, and clears alone, with nobody overtaking', async () => {
    const { gate, log, work } = setup({ shared: true })
    await Promise.all([
      gate.step(work('a')),
      gate.step(work('b')),
      gate.alone(work('clear')),
      gate.step(work('c')),
    ])
    assert.deepEqual(log, ['a+', 'b+', 'a-', 'b-', 'clear+', 'clear-', 'c+', 'c-'])
  })

  it('goes on after a step that failed', async () => {
    const { gate, log, work } = setup({ shared: false })
    await assert.rejects(
      gate.step(() => Promise.reject(new Error('no'))),
      /no/,
    )
    await gate.step(work('a'))
    assert.deepEqual(log, ['a+', 'a-'])
  })

  it('closes when the last step is done, and lets no other in', async () => {
    const { gate, log, work } = setup({ shared: true })
    const running = gate.step(work('a'))
    await new Promise((resolve) => setImmediate(resolve)) // it is in
    await gate.close()
    assert.deepEqual(log, ['a+', 'a-'])
    await running
    await assert.rejects(gate.step(work('b')), { code: 'engine_closed' })
    await gate.close()
  })
})

function setup(options: { shared: boolean }) {
  const log: string[] = []
  const work = (name: string) => async () => {
    log.push(`${name}+`)
    await new Promise((resolve) => setImmediate(resolve))
    log.push(`${name}-`)
  }
  return { gate: new StepGate(options), log, work }
}
