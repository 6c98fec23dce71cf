import assert from 'node:assert/strict'
import { once } from 'node:events'
import { duplexPair, PassThrough, type Duplex } from 'node:stream'
import { describe, it } from 'node:test'
import {
  EXEC_AWAY_MS,
  EXEC_LOG_BYTES,
  encodeTaken,
  MAX_EXEC_SESSIONS_PER_LEASE,
  MAX_EXEC_SESSIONS_PER_NODE,
} from '../../../core/protocol/exec-log.ts'
import type { Exec, Output } from '../../../io/runtime/runtime.ts'
import type { ExecSession } from './exec-session.ts'
import { ExecSessions } from './exec-sessions.ts'

const timeout = 20_000
const PLACE = { lease: 'lease_1', epoch: 1, service: 'web', replica: 0 }
const SECRET = 's'.repeat(43)

describe('a command that its tenant may come back to', { timeout }, () => {
  it('is found by its secret at its place only', async () => {
    const { sessions, open } = setup()
    const session = await open()
    assert.equal(await sessions.find({ ...PLACE }, SECRET), session)
    assert.equal(await sessions.find(PLACE, 't'.repeat(43)), null)
    for (const other of [{ lease: 'lease_2' }, { epoch: 2 }, { service: 'db' }, { replica: 1 }])
      assert.equal(await sessions.find({ ...PLACE, ...other }, SECRET), null)
    sessions.close()
    assert.equal(await sessions.find(PLACE, SECRET), null)
  })

  it('is hung up when nobody came back for a minute, and not a moment before', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { sessions, open, signals } = setup()
    const session = await open()
    const [near, carried] = carry(session)
    t.mock.timers.tick(EXEC_AWAY_MS)
    assert.deepEqual(signals, [], 'its tenant is there')
    near.destroy()
    await carried
    t.mock.timers.tick(EXEC_AWAY_MS - 1)
    assert.equal(await sessions.find(PLACE, SECRET), session)
    assert.deepEqual(signals, [])
    t.mock.timers.tick(1)
    assert.equal(await sessions.find(PLACE, SECRET), null)
    assert.deepEqual(signals, ['SIGHUP'])
    t.mock.timers.tick(5_000)
    assert.deepEqual(signals, ['SIGHUP', 'SIGKILL'])
  })

  it('waits for its tenant when a full log of output is kept', async (t) => {
    const chunk = 60_000
    let read = 0
    const output = async function* (): AsyncGenerator<Output, void, void> {
      for (;;) {
        yield { stream: 'stdout', data: Buffer.alloc(chunk) }
        read += chunk
      }
    }
    const { open, sessions } = setup(output)
    t.after(() => sessions.close())
    await open()
    for (let turn = 0; turn < 1000; turn += 1) await new Promise(setImmediate)
    assert.ok(read <= EXEC_LOG_BYTES && read > EXEC_LOG_BYTES - 3 * chunk, String(read))
  })

  it('gives way to the tunnel that its tenant comes back on', async (t) => {
    const { open, sessions } = setup()
    t.after(() => sessions.close())
    const session = await open()
    const [, carried] = carry(session)
    const [near] = carry(session)
    await carried
    const [first] = await once(near, 'data')
    assert.deepEqual(Buffer.from(first), Buffer.from(encodeTaken(0)))
  })

  it('is hung up at once by who says goodbye, and by one that claims what was never sent', async () => {
    const goodbye = setup()
    const [near, carried] = carry(await goodbye.open())
    near.resume().end()
    await carried
    assert.deepEqual(goodbye.signals, ['SIGHUP'])
    const liar = setup()
    const session = await liar.open()
    const [other, broken] = carry(session)
    other.write(encodeTaken(1))
    await broken
    assert.ok(session.has(0) && !session.has(1), 'its tenant may still come back')
    assert.deepEqual(liar.signals, [])
    liar.sessions.close()
  })
})

describe('commands at a node', { timeout }, () => {
  it('are so many for a lease, and no more; what has ended makes room', async (t) => {
    const { open, sessions, exit } = setup()
    t.after(() => sessions.close())
    for (let n = 0; n < MAX_EXEC_SESSIONS_PER_LEASE; n += 1) await open({}, n)
    await assert.rejects(open({}, 99), /32 commands of lease lease_1 run/)
    await open({ lease: 'lease_2' }, 99)
    exit[0]?.()
    for (let turn = 0; turn < 10; turn += 1) await new Promise(setImmediate)
    await open({}, 99)
    await assert.rejects(open({}, 100), /32 commands/)
  })

  it('are so many of all leases, and no more', async (t) => {
    const { open, sessions } = setup()
    t.after(() => sessions.close())
    for (let n = 0; n < MAX_EXEC_SESSIONS_PER_NODE; n += 1) await open({ lease: `lease_${n}` }, n)
    await assert.rejects(open({ lease: 'lease_x' }), /512 commands run at this node/)
  })

  it('are forgotten when they cannot be started', async () => {
    const { sessions } = setup()
    const task = { place: PLACE, secret: SECRET, stdin: true, start: startNothing }
    await assert.rejects(sessions.open(task), /no such command/)
    assert.equal(await sessions.find(PLACE, SECRET), null)
  })
})

function setup(output?: () => AsyncGenerator<Output, void, void>) {
  const sessions = new ExecSessions()
  const signals: string[] = []
  const exit: (() => void)[] = []
  const start = async (): Promise<Exec> => {
    const ended = new Promise<void>((resolve) => exit.push(resolve))
    return {
      stdin: new PassThrough(),
      output: output?.() ?? silenceUntil(ended),
      resize: () => Promise.resolve(),
      signal: (name) => Promise.resolve(void signals.push(name)),
      exitCode: ended.then(() => 0),
    }
  }
  const open = async (at: Partial<typeof PLACE> = {}, n = 0): Promise<ExecSession> => {
    const secret = n === 0 ? SECRET : String(n).padStart(43, '0')
    const opened = await sessions.open({ place: { ...PLACE, ...at }, secret, stdin: true, start })
    if (typeof opened === 'string') throw new Error(opened)
    return opened
  }
  return { sessions, open, signals, exit }
}

const startNothing = () => Promise.reject(new Error('no such command'))

async function* silenceUntil(ended: Promise<void>): AsyncGenerator<Output, void, void> {
  await ended
  yield* []
}

/** The tenant's end of a new tunnel, and when it is over. */
function carry(session: ExecSession): [Duplex, Promise<void>] {
  const [near, far] = duplexPair()
  for (const end of [near, far]) end.on('error', () => {})
  near.once('close', () => far.destroy())
  return [near, session.carry(far, 0)]
}
