import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { exitCause, RestartPause } from './exit.ts'

const exit = { exitCode: 137, oomKilled: false, asked: false }

describe('an exit', () => {
  it('is for memory when the engine says so', () => {
    assert.equal(exitCause({ ...exit, exitCode: 1, oomKilled: true }), 'oom')
    assert.equal(exitCause({ ...exit, exitCode: 1 }), 'exit')
  })

  it('is for memory when the kernel killed it, whatever the engine says', () => {
    assert.equal(exitCause(exit), 'oom')
    assert.equal(exitCause({ ...exit, asked: true }), 'exit')
  })

  it('is a good end although a child was killed for memory before', () => {
    assert.equal(exitCause({ ...exit, exitCode: 0, oomKilled: true }), 'exit')
  })
})

describe('the pause before a restart', () => {
  it('doubles from a second to five minutes', () => {
    const pause = new RestartPause()
    const pauses = Array.from({ length: 11 }, () =>
      pause.next('always', { exitCode: 1, ranMs: 10 }),
    )
    assert.deepEqual(pauses.slice(0, 4), [1000, 2000, 4000, 8000])
    assert.deepEqual(pauses.slice(-2), [300_000, 300_000])
  })

  it('is short again after a good run', () => {
    const pause = new RestartPause()
    for (const _ of [1, 2, 3]) pause.next('always', { exitCode: 1, ranMs: 10 })
    assert.equal(pause.next('always', { exitCode: 1, ranMs: 600_000 }), 1000)
  })

  it('does not come where the lease wants no restart', () => {
    const pause = new RestartPause()
    assert.equal(pause.next('never', { exitCode: 1, ranMs: 10 }), null)
    assert.equal(pause.next('on-failure', { exitCode: 0, ranMs: 10 }), null)
    assert.equal(pause.next('on-failure', { exitCode: 1, ranMs: 10 }), 1000)
    assert.equal(pause.next('always', { exitCode: 0, ranMs: 10 }), 2000)
  })
})
