import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { imageMark } from '../../../core/protocol/image-mark.ts'
import { isRefusal } from '../../../core/base/refusal.ts'
import { sha256Hex } from '../../../io/keys/identity.ts'
import { sdl, setupBook as setup, view, wish } from './lease-book-kit.ts'

const timeout = 30_000

describe('the rule fastest', { timeout }, () => {
  it('takes who holds the images, for which cheapest would pay less elsewhere', async (t) => {
    const net = await setup(t)
    const marks = (...images: string[]) =>
      images.map((image) => imageMark(net.first.id, image, sha256Hex))
    const cheap = net.node({ cpuPrice: '0.01' })
    const dear = net.node({ cpuPrice: '0.03' })
    net.beat(cheap, { images: marks('other') })
    net.beat(dear, { images: marks('docker.io/library/hello:latest') })
    const fast = { ...wish(), sdl: sdl({ image: 'hello' }), rule: 'fastest' as const }
    const first = view(await net.service.deploy(net.account, 'key_none', fast))
    assert.equal((await net.until(first.id, 'running')).node, dear.node)
    const second = await net.deploy(sdl({ image: 'hello' }))
    assert.equal((await net.until(second.id, 'running')).node, cheap.node)

    const bids = await net.service.bids(net.account, first.id)
    assert.ok(!isRefusal(bids))
    assert.deepEqual(
      bids.groups[0]?.bids.map(({ node, cached }) => [node, cached]),
      [
        [dear.node, true],
        [cheap.node, false],
      ],
    )
    // A beat without images changes nothing; one with others does, also over a new offer.
    net.beat(dear, {})
    net.beat(cheap, { images: marks('hello') })
    net.beat(dear, { images: [] })
    net.offer(cheap)
    const third = view(await net.service.deploy(net.account, 'key_none', fast))
    assert.equal((await net.until(third.id, 'running')).node, cheap.node)
  })
})
