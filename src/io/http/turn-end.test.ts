/** Writes of one turn leave together and in order, also those that are asked for while others are written. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { atTurnEnd } from './turn-end.ts'

const limit = { timeout: 5_000 }

describe('turn end', limit, () => {
  it('waits for the end of the turn, past promises and ticks', limit, async () => {
    const said: string[] = []
    atTurnEnd(() => said.push('first'))
    await Promise.resolve()
    await new Promise<void>((resolve) => process.nextTick(resolve))
    said.push('turn goes on')
    atTurnEnd(() => said.push('second'))
    await new Promise(setImmediate)
    assert.deepEqual(said, ['turn goes on', 'first', 'second'])
  })

  it('writes in the next turn what is asked for while it writes', limit, async () => {
    const said: string[] = []
    atTurnEnd(() => atTurnEnd(() => said.push('later')))
    await new Promise(setImmediate)
    const soon = [...said]
    await new Promise(setImmediate)
    assert.deepEqual([soon, said], [[], ['later']])
  })
})
