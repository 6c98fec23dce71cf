import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { CARD_DOMAIN, cardText, type GatewayCard } from '../../core/protocol/region.ts'
import { ephemeralIdentity } from '../../io/keys/identity.ts'
import { RegionLinks } from './region-links.ts'

function card(region: string | null = null, change: Partial<GatewayCard> = {}): GatewayCard {
  const { id: gateway, publicKey: key, sign } = ephemeralIdentity('gw')
  const url = `https://${gateway.slice(3)}.example`
  const signature = sign(CARD_DOMAIN, cardText({ gateway, url, region }))
  return { gateway, key, url, region, signature, ...change }
}
const links = (region: string | null = null, most = 16) =>
  new RegionLinks({ node: 'node_a', region, perNetwork: 3, most })
const cards = (count: number) => Array.from({ length: count }, () => card())

describe('the gateways of its region', () => {
  it('are linked to, a few of many, and others only when one of these is gone', () => {
    const region = links()
    const all = cards(20)
    region.heard('gw_hand', all)
    const before = [...region.wanted().keys()]
    assert.equal(before.length, 3)
    const left = all.filter(({ gateway }) => gateway !== before[0])
    region.heard('gw_hand', left)
    const after = [...region.wanted().keys()]
    assert.deepEqual(after.slice(0, 2), before.slice(1))
    region.heard('gw_hand', all)
    assert.deepEqual([...region.wanted().keys()], before)
  })

  it('prove where they are: another address, key or region is passed over', () => {
    const region = links()
    const { publicKey } = ephemeralIdentity('gw')
    region.heard('gw_hand', [
      card(null, { url: 'https://rival.example' }),
      card(null, { key: publicKey }),
      card(null, { region: 'eu' }),
    ])
    assert.equal(region.wanted().size, 0)
  })

  it('serve the regions below their own', () => {
    const region = links('eu-de')
    const [eu, de, us, everywhere] = [card('eu'), card('eu-de'), card('us'), card(null)]
    region.heard('gw_hand', [eu, us, card('e'), card('eu-d')])
    assert.deepEqual([...region.wanted().keys()], [eu.gateway])
    region.heard('gw_hand', [de, everywhere])
    assert.equal(region.wanted().size, 2)
  })

  it('of rival networks are counted for each, and bounded over all', () => {
    const region = links(null, 5)
    region.heard('gw_one', cards(9))
    region.heard('gw_two', cards(9))
    assert.equal(region.wanted().size, 5)
  })
})
