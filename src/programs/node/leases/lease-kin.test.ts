/** Several gateways of one network, and a provider that leaves. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { KIN_DOMAIN, kinText, type KinProof } from '../../../core/protocol/kin.ts'
import { ephemeralIdentity, type Identity } from '../../../io/keys/identity.ts'
import type { LeaseHost } from './lease-host.ts'
import { gatewayOf, runOf, setupHost, stopOf } from './host-kit.ts'
import { askOf, LEASE } from './test-kit.ts'

const timeout = 20_000
const AT = { lease: LEASE, epoch: 1 }

describe('a gateway that another has vouched for', { timeout }, () => {
  it('takes over what runs, without a restart, and hears of it from then on', async (t) => {
    const { host, runtime, heir, proof, run } = await setup(t)
    host.command(heir.id, { kind: 'kin', proofs: [proof] })
    host.command(heir.id, { kind: 'keep', leases: [AT] })
    assert.deepEqual(heir.said.kinds(), [], 'what is named runs')
    assert.equal(host.find(heir.id, LEASE)?.runs, true)
    host.command(heir.id, run)
    await heir.said.heardPhase('running')
    assert.deepEqual(runtime.stops, [])
    host.command(heir.id, stopOf())
    await heir.said.heard('stopped')
    assert.equal(runtime.stops.length, 1)
  })

  it('keeps its takeover over a restart of the node', async (t) => {
    const { host, heir, proof, run, reopen } = await setup(t)
    host.command(heir.id, { kind: 'kin', proofs: [proof] })
    host.command(heir.id, run)
    await heir.said.heardPhase('running')
    const again = await reopen()
    const said = gatewayOf(again, heir.id)
    said.link()
    await said.heardPhase('running')
    assert.equal(again.find(heir.id, LEASE)?.runs, true)
  })

  it('may lease at the next epoch what the other leased', async (t) => {
    const { host, heir, proof, identity } = await setup(t)
    host.command(heir.id, { kind: 'kin', proofs: [proof] })
    const ask = askOf({}, { node: identity.id, gateway: heir.id, epoch: 2 })
    host.command(heir.id, ask)
    await heir.said.heard('accepted', { lease: LEASE, epoch: 2 })
  })

  it('is nobody without a proof, with another’s, or with one that was changed', async (t) => {
    const { host, runtime, first, heir, proof, run } = await setup(t)
    const stranger = ephemeralIdentity('gw')
    const wrong: KinProof[] = [
      { ...proof, signature: first.sign(KIN_DOMAIN, kinText(first.id, stranger.id)) },
      { ...proof, key: heir.publicKey },
      { ...proof, gateway: stranger.id },
      { ...proof, signature: heir.sign(KIN_DOMAIN, kinText(first.id, heir.id)) },
      { ...proof, signature: '' },
    ]
    for (const proofs of [[], ...wrong.map((one) => [one])]) {
      host.command(heir.id, { kind: 'kin', proofs })
      host.command(heir.id, run)
      host.command(heir.id, stopOf())
      assert.equal(host.find(heir.id, LEASE), null)
    }
    const refused = heir.said.reports.all.filter((one) => one.kind === 'refused')
    assert.deepEqual([...new Set(refused.map(({ code }) => code))], ['lease_taken'])
    assert.equal(runtime.stops.length, 0)
    assert.equal(host.find(first.id, LEASE)?.runs, true)
  })
})

describe('a provider that wants its machine back', { timeout }, () => {
  it('takes nothing new, and gives notice of what runs at each link and each minute', async (t) => {
    const { reopen, first, clock, identity } = await setup(t)
    const host = await reopen(true)
    const gateway = gatewayOf(host, first.id)
    gateway.link()
    await gateway.heard('leaving')
    await gateway.heardPhase('running')
    gateway.reports.all.length = 0
    clock.now += 60_000
    host.tick()
    await gateway.heard('leaving')
    const ask = askOf({}, { node: identity.id, gateway: first.id, id: 'lease_b' })
    host.command(first.id, ask)
    assert.equal(
      (await gateway.heard('refused', { lease: 'lease_b', epoch: 1 })).code,
      'node_draining',
    )
  })
})

/** A lease of one gateway runs; another is linked, too. */
async function setup(t: TestContext) {
  const net = await setupHost(t)
  const { host, identity, runtime } = net
  const [first, second] = [ephemeralIdentity('gw'), ephemeralIdentity('gw')]
  const said = gatewayOf(host, first.id)
  said.link()
  const ask = askOf({}, { node: identity.id, gateway: first.id })
  host.command(first.id, ask)
  await said.heard('accepted')
  const run = runOf(ask)
  host.command(first.id, run)
  await said.heardPhase('running')
  const heir = { ...second, said: gatewayOf(host, second.id) }
  heir.said.link()
  const reopen = async (leaving = false): Promise<LeaseHost> => {
    await host.close()
    return await net.open(runtime, leaving)
  }
  return { ...net, first, heir, run, proof: proofOf(first, second), reopen }
}

const proofOf = ({ id, publicKey, sign }: Identity, kin: Identity): KinProof => ({
  gateway: id,
  key: publicKey,
  signature: sign(KIN_DOMAIN, kinText(id, kin.id)),
})
