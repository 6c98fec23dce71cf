/** Both real ends of a command's session, over tunnels that are cut at any byte. */
import assert from 'node:assert/strict'
import { duplexPair, PassThrough, Writable, type Duplex } from 'node:stream'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { Exec, Output } from '../../../io/runtime/runtime.ts'
import { ExecSession as NodeSession } from '../../node/leases/exec-session.ts'
import { setup } from '../fake-shell.ts'
import { ExecSession } from './exec-session.ts'

/** A tunnel carries so many bytes each way, then it is cut at both of its ends. */
type Cut = { readonly up: number; readonly down: number }
type Play = {
  readonly input: readonly Uint8Array[]
  readonly output: readonly Output[]
  readonly cuts: readonly Cut[]
}

/** The node's first frame: before it nobody knows whether the command was started. */
const FIRST_FRAME_BYTES = 13

describe('a command whose tunnel is cut', { timeout: 120_000 }, () => {
  it('has its input and output exactly once, wherever each of the tunnels is cut', async () => {
    const bytes = fc.uint8Array({ minLength: 1, maxLength: 60 })
    const output = fc.record(
      {
        stream: fc.constantFrom('stdout' as const, 'stderr' as const),
        data: bytes.map((data) => Buffer.from(data)),
      },
      { noNullPrototype: true },
    )
    const cut = fc.record({ up: fc.nat(300), down: fc.nat(300) }, { noNullPrototype: true })
    const plays = fc.record(
      {
        input: fc.array(bytes, { maxLength: 8 }),
        output: fc.array(output, { maxLength: 12 }),
        cuts: fc.array(cut, { maxLength: 6 }),
      },
      { noNullPrototype: true },
    )
    await fc.assert(
      fc.asyncProperty(plays, async (play) => void (await check(play))),
      { numRuns: 200 },
    )
  })

  it('has them when it is cut at each single byte, either way', async () => {
    const play = {
      input: [Buffer.from('one\n'), Buffer.from('two\n')],
      output: [
        { stream: 'stdout', data: Buffer.from('first') },
        { stream: 'stderr', data: Buffer.from('second') },
      ],
    } as const
    let cuts = 0
    for (let at = 0; at <= 90; at += 1)
      for (const cut of [
        { up: at, down: Infinity },
        { up: Infinity, down: at + FIRST_FRAME_BYTES },
        { up: at, down: at + FIRST_FRAME_BYTES },
      ])
        cuts += await check({ ...play, cuts: [cut] })
    assert.ok(cuts > 100, `only ${cuts} tunnels were cut`)
  })

  it('has megabytes of both, as the logs of both ends fill up', async () => {
    const input = Array.from({ length: 50 }, (_, i) => Buffer.alloc(60_000, String(i)))
    const output = input.map((data) => ({ stream: 'stdout' as const, data }))
    const cuts = [500_000, 1_200_000, 100_000].map((at) => ({ up: at, down: at }))
    assert.equal(await check({ input, output, cuts }), 3)
  })
})

/** How many tunnels were cut. */
async function check({ input, output, cuts }: Play): Promise<number> {
  const { shell, stdin, close } = setup()
  const heard: { stdout: Buffer[]; stderr: Buffer[] } = { stdout: [], stderr: [] }
  const stdio = { stdin, stdout: into(heard.stdout), stderr: into(heard.stderr) }
  const { exec, given } = fakeCommand(output)
  const far = new NodeSession(exec, { stdin: true, awayMs: 60_000, onOver: () => {} })
  let tunnels = 0
  const dial = async (taken: number | null): Promise<Duplex> => {
    const { up, down } = cuts[tunnels] ?? { up: Infinity, down: Infinity }
    const first = tunnels++ === 0
    const [near, end] = cutAfter({ up, down: first ? Math.max(down, FIRST_FRAME_BYTES) : down })
    assert.ok(far.has(taken ?? 0))
    void far.carry(end, taken ?? 0)
    return near
  }
  const tunnel = await dial(null)
  const session = new ExecSession({
    dial,
    stdin: true,
    tty: false,
    json: false,
    shell: { ...shell, stdio },
  })
  for (const part of input) stdin.write(part)
  stdin.end()
  try {
    assert.deepEqual(await session.run(tunnel), { code: 42, reason: null })
    assert.deepEqual(Buffer.concat(given), Buffer.concat(input))
    for (const stream of ['stdout', 'stderr'] as const) {
      const said = output.filter((one) => one.stream === stream).map(({ data }) => data)
      assert.deepEqual(Buffer.concat(heard[stream]), Buffer.concat(said))
    }
    return tunnels - 1
  } finally {
    far.end()
    close()
  }
}

const into = (list: Buffer[]): Writable =>
  new Writable({
    write(chunk: Buffer, _encoding, done) {
      list.push(Buffer.from(chunk))
      done()
    },
  })

/** Says all that it has to say, reads its input to the end, and exits with 42. */
function fakeCommand(output: readonly Output[]): { exec: Exec; given: Buffer[] } {
  const given: Buffer[] = []
  const stdin = new PassThrough()
  const read = (async () => {
    for await (const chunk of stdin) given.push(chunk)
  })().catch(() => {})
  const exec: Exec = {
    stdin,
    output: (async function* () {
      yield* output
      await read
    })(),
    resize: () => Promise.resolve(),
    signal: () => Promise.resolve(),
    exitCode: read.then(() => 42),
  }
  return { exec, given }
}

function cutAfter({ up, down }: Cut): [Duplex, Duplex] {
  const [near, a] = duplexPair()
  const [b, far] = duplexPair()
  const all = [near, a, b, far]
  for (const end of all) end.on('error', () => {})
  const cut = () => void setImmediate(() => all.forEach((end) => end.destroy()))
  for (const [from, to, limit] of [
    [a, b, up],
    [b, a, down],
  ] as const) {
    let left = limit
    from.on('data', (chunk: Buffer) => {
      if (left <= 0) return
      const part = chunk.subarray(0, left)
      left -= part.length
      if (!to.destroyed && to.writable) to.write(part)
      if (left <= 0) cut()
    })
    from.on('end', () => to.end())
    if (limit === 0) cut()
  }
  for (const end of all) end.on('close', cut)
  return [near, far]
}
