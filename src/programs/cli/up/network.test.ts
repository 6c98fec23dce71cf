import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { startNetwork, type RunningProcesses } from './network.ts'
import { identify } from './process-identity.ts'

const TIMEOUT = { timeout: 20_000 }

describe('the processes of a network', TIMEOUT, () => {
  it('are ready when all have reported, and are known by id and pid', TIMEOUT, async () => {
    const { network, running, close } = setup()
    await network.ready
    const { gateway, nodes, pids } = running()
    assert.ok(gateway.pid !== null && identify(gateway.pid))
    assert.deepEqual(
      nodes.map(({ id }) => id),
      ['node_1', 'node_2'],
    )
    assert.equal(new Set(pids).size, 3)
    await network.stop()
    assert.ok(pids.every((pid) => identify(pid) === null))
    close()
  })

  it('keep a killed node off the list until it runs again, under its id', TIMEOUT, async () => {
    const { network, running, until, close } = setup()
    await network.ready
    const killed = running().nodes[0]?.pid ?? 0
    process.kill(killed, 'SIGKILL')
    await until(({ nodes }) => nodes.length === 1)
    await until(({ nodes }) => nodes.length === 2)
    const [first] = running().nodes
    assert.equal(first?.id, 'node_1')
    assert.notEqual(first?.pid, killed)
    await network.stop()
    close()
  })

  it('go on without a node that left on purpose', TIMEOUT, async () => {
    const { network, running, until, said, close } = setup()
    await network.ready
    process.kill(running().nodes[1]?.pid ?? 0, 'SIGTERM')
    await until(({ nodes }) => nodes.length === 1)
    assert.deepEqual(said, ['node 2 has left'])
    await network.stop()
    close()
  })

  it('are over when the gateway leaves', TIMEOUT, async () => {
    const { network, running, over, close } = setup()
    await network.ready
    process.kill(running().gateway.pid ?? 0, 'SIGTERM')
    await over
    await network.stop()
    assert.ok(running().pids.every((pid) => identify(pid) === null))
    close()
  })

  it('say why one ended, with its last words', TIMEOUT, async () => {
    const { network, said, bus, close } = setup("console.error('✗ no such model'); process.exit(1)")
    while (said.length === 0) await once(bus, 'said')
    assert.match(said[0] ?? '', /^node \d ended \(exit code 1: no such model\); starting it again/)
    await network.stop()
    close()
  })
})

/** A child that reports its id (its last argument), and ends well on SIGTERM or without its supervisor. */
const CHILD = `
  process.on('SIGTERM', () => process.exit(0)).on('disconnect', () => process.exit(0))
  process.send({ ready: { id: process.argv.at(-1) } })
`

const child = (script: string, id: string) => ({ args: ['-e', script, id], env: process.env })

function setup(nodeScript = CHILD) {
  const home = mkdtempSync(join(tmpdir(), 'baseload-network-'))
  const bus = new EventEmitter()
  const said: string[] = []
  let latest: RunningProcesses = { gateway: { pid: null }, nodes: [], pids: [] }
  const over = once(bus, 'over')
  const network = startNetwork(
    {
      home,
      program: [process.execPath],
      gateway: child(CHILD, 'gw_1'),
      nodes: [child(nodeScript, 'node_1'), child(nodeScript, 'node_2')],
    },
    {
      changed: (running) => {
        latest = running
        bus.emit('changed')
      },
      line: () => {},
      say: (text) => {
        said.push(text)
        bus.emit('said')
      },
      over: () => bus.emit('over'),
    },
  )
  return {
    network,
    said,
    over,
    bus,
    running: () => latest,
    until: async (holds: (running: RunningProcesses) => boolean) => {
      while (!holds(latest)) await once(bus, 'changed')
    },
    close: () => rmSync(home, { recursive: true }),
  }
}
