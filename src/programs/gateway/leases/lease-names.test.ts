import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isRefusal, type Refusal } from '../../../core/base/refusal.ts'
import { sdl, setupBook, view, wish } from './lease-book-kit.ts'

const timeout = 60_000

describe('a name of choice', { timeout }, () => {
  it('leads to the first deployment that asks for it; the second hears so before it costs', async (t) => {
    const net = await setupBook(t)
    net.node()
    const named = sdl({ accept: ['shop.example'] })
    const first = await net.deploy(named)
    const deploy = () => net.service.deploy(net.account, 'key_none', { ...wish(), sdl: named })
    refused(await deploy(), /'shop\.example' leads to another lease already.*close the deployment/)
    assert.equal((await net.service.deployments(net.account, { limit: 9, closed: true })).length, 1)

    const other = await net.deploy()
    refused(await net.service.update(net.account, other.id, named, null), /leads to another lease/)
    view(
      await net.service.update(
        net.account,
        first.id,
        sdl({ accept: ['shop.example'], image: 'two' }),
        null,
      ),
    )

    view(await net.service.close(net.account, first.id))
    await net.until(first.id, 'closed')
    const second = view(await deploy())
    await net.until(second.id, 'running')
    const [lease] = second.leases
    assert.equal(net.hosts.leaseOf('shop.example'), lease?.id)
  })

  it('is never the gateway itself', async (t) => {
    const net = await setupBook(t)
    net.node()
    const text = sdl({ accept: ['gateway.example'] })
    const answer = await net.service.deploy(net.account, 'key_none', { ...wish(), sdl: text })
    refused(answer, /is the gateway's own name/)
  })
})

function refused(answer: object, why: RegExp): void {
  assert.ok(isRefusal(answer), 'it was not refused')
  const refusal: Refusal = answer
  assert.deepEqual([refusal.code, refusal.param], ['conflict', 'sdl'])
  assert.match(refusal.message, why)
}
