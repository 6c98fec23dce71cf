import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { imageMark, MAX_IMAGE_MARKS } from '../../../core/protocol/image-mark.ts'
import { sha256Hex } from '../../../io/keys/identity.ts'
import { silentLogger } from '../../../io/telemetry/logger.ts'
import { HeldImages } from './held-images.ts'

const mark = (gateway: string, image: string) => imageMark(gateway, image, sha256Hex)

describe('the images that a node holds', () => {
  it('are told to each gateway by marks of its own, once, and again when they change', async () => {
    const { engine, held } = setup(['web:1', 'docker.io/library/web:1', 'db'])
    await held.look()
    const told = new Set(held.news('gw_a'))
    assert.deepEqual(told, new Set([mark('gw_a', 'web:1'), mark('gw_a', 'db:latest')]))
    assert.equal(held.news('gw_a'), null)
    assert.ok(held.news('gw_b')?.includes(mark('gw_b', 'db')))
    await held.look()
    assert.equal(held.news('gw_a'), null)
    engine.images = ['db']
    await held.look()
    assert.deepEqual(held.news('gw_a'), [mark('gw_a', 'db')])
    held.linked('gw_a')
    assert.deepEqual(held.news('gw_a'), [mark('gw_a', 'db')])
  })

  it('are the newest where there are many, and stay known when the engine does not answer', async () => {
    const many = Array.from({ length: MAX_IMAGE_MARKS + 1 }, (_, i) => `image-${i}`)
    const { engine, held } = setup(many)
    await held.look()
    const told = held.news('gw_a') ?? []
    assert.equal(told.length, MAX_IMAGE_MARKS)
    assert.ok(
      told.includes(mark('gw_a', 'image-0')) && !told.includes(mark('gw_a', many.at(-1) ?? '')),
    )
    engine.fails = true
    await held.look()
    held.linked('gw_a')
    assert.equal(held.news('gw_a')?.length, MAX_IMAGE_MARKS)
  })
})

function setup(images: string[]) {
  const engine = { images, fails: false }
  const list = () =>
    engine.fails ? Promise.reject(new Error('away')) : Promise.resolve(engine.images)
  return { engine, held: new HeldImages({ images: list }, silentLogger) }
}
