import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { FRAME } from '../../core/protocol/frame.ts'
import type { LeaseCommand, LeaseReport } from '../../core/protocol/lease-control.ts'
import type { LinkClientOptions } from './link-client.ts'
import { Journal, linkRaw, startGateway, startNode, type TestGateway } from './test-kit.ts'

const timeout = 60_000
const ref = { lease: 'lease_1', epoch: 3 }
const ASK: LeaseCommand = {
  kind: 'ask',
  ...ref,
  group: {
    name: 'dc',
    attributes: {},
    signedBy: { anyOf: [], allOf: [] },
    units: [
      {
        id: 1,
        resources: {
          cpuMilli: 500,
          cpuArch: null,
          memoryBytes: 1024,
          volumes: [{ name: 'default', bytes: 1024, persistent: false, class: 'default' }],
          gpu: null,
        },
        count: 1,
        endpoints: { sharedHttp: 1, randomPort: 0, leasedIp: 0 },
        maxRate: '1000',
      },
    ],
    minNoticeS: null,
  },
  terms: '{"lease":"lease_1"}',
}

describe('leases on a link', { timeout }, () => {
  it('are commanded, and reported on, in order', async (t) => {
    const commands = new Journal<LeaseCommand>()
    const { gateway, node, link } = await setup(t, { onLease: (command) => commands.add(command) })
    const keep: LeaseCommand = { kind: 'keep', leases: [ref] }
    link.lease(ASK)
    link.lease(keep)
    assert.deepEqual(await commands.count(2), [ASK, keep])
    const accepted: LeaseReport = { kind: 'accepted', ...ref, signature: 's' }
    const stopped: LeaseReport = { kind: 'stopped', ...ref, reason: 'a test' }
    assert.equal(node.client.reportLease(accepted), true)
    assert.equal(node.client.reportLease(stopped), true)
    await reported(gateway, 'stopped')
    const reports = gateway.events.all.filter(({ kind }) => kind === 'leaseReport')
    assert.deepEqual(
      reports.map(({ detail }) => detail),
      [accepted, stopped],
    )
  })

  it('are refused by a node that runs no containers', async (t) => {
    const { gateway, link } = await setup(t)
    link.lease({ kind: 'keep', leases: [ref] })
    link.lease(ASK)
    const { detail } = await reported(gateway, 'refused')
    assert.deepEqual(detail, {
      kind: 'refused',
      ...ref,
      code: 'lease_unsupported',
      message: 'this node runs no containers',
    })
  })

  it('cannot be reported without a link', async (t) => {
    const { node } = await setup(t)
    await node.client.close()
    assert.equal(node.client.reportLease({ kind: 'stopped', ...ref, reason: '' }), false)
  })

  it('close the link when they are malformed, on either side', async (t) => {
    const { gateway, link, node } = await setup(t)
    const peer = await linkRaw(gateway)
    peer.send(FRAME.LEASE_STATE, 0, { kind: 'status', lease: 'lease_1', epoch: 0 })
    assert.match((await peer.closed).text, /LEASE_STATE: epoch/)
    link.lease({ kind: 'keep', leases: [{ lease: 'lease_1', epoch: 0 }] })
    const { reason } = await node.unlinked.find(() => true)
    assert.match(reason, /LEASE: leases\.0\.epoch/)
  })
})

const reported = (gateway: TestGateway, kind: LeaseReport['kind']) =>
  gateway.events.find(
    ({ detail }) =>
      typeof detail === 'object' && detail !== null && 'kind' in detail && detail.kind === kind,
  )

async function setup(t: TestContext, more: Partial<LinkClientOptions> = {}) {
  const gateway = await startGateway()
  t.after(() => gateway.close())
  const node = startNode(gateway.url, more)
  t.after(() => node.client.close())
  return { gateway, node, link: await gateway.linked(node.identity.id) }
}
