import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { LeaseReport } from '../../../core/protocol/lease-control.ts'
import { eventOf, LeaseNews, MAX_WAITING_EVENTS } from './lease-news.ts'

const AT = { lease: 'lease_1', epoch: 1 }

describe('news of leases', () => {
  it('say how many events were lost, and say it only once', () => {
    const news = new LeaseNews()
    for (let i = 0; i < MAX_WAITING_EVENTS + 3; i++)
      news.event(eventOf(AT, i, 'container.started', 'web', `number ${i}`))
    const said: LeaseReport[] = []
    news.linked((report) => said.push(report) > 0)
    assert.equal(said.length, MAX_WAITING_EVENTS + 1)
    assert.deepEqual(
      said.slice(0, 2).map((one) => one.kind === 'event' && [one.type, one.message]),
      [
        [
          'events.lost',
          "3 earlier events of this node's leases did not fit while there was no link",
        ],
        ['container.started', 'number 3'],
      ],
    )
  })

  it('go on where a congested link stopped', () => {
    const news = new LeaseNews()
    for (let i = 0; i < 5; i++) news.event(eventOf(AT, i, 'x', null, String(i)))
    news.state({ kind: 'stopped', ...AT, reason: 'over' })
    const said: string[] = []
    let room = 2
    news.linked((report) => {
      if (room === 0) return false
      room -= 1
      said.push(report.kind === 'event' ? report.message : report.kind)
      return true
    })
    assert.deepEqual(said, ['0', '1'])
    room = 9
    news.flush()
    news.flush()
    assert.deepEqual(said, ['0', '1', '2', '3', '4', 'stopped'])
  })

  it('keep to the limits of a report', () => {
    const { message } = eventOf(AT, 0, 'x', null, 'y'.repeat(5000))
    assert.equal(message.length, 2000)
  })
})
