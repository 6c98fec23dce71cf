import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EXEC_CHANNEL } from '../../../core/protocol/tunnel.ts'
import { EXIT } from '../shell/failure.ts'
import { FarExec, setupDeployments } from './deployment-kit.ts'

const TIMEOUT = { timeout: 20_000 }

describe('baseload exec', TIMEOUT, () => {
  it('runs a command, keeps output and errors apart, and ends as it did', TIMEOUT, async (t) => {
    const { run, deployed, onTunnel, leases } = await setupDeployments(t)
    await deployed()
    onTunnel((far) => {
      const exec = new FarExec(far)
      exec.out('to stdout\n')
      exec.err('to stderr\n')
      exec.exit(7)
    })
    const { code, out, err } = await run('exec', 'shop', '--', 'sh', '-c', 'exit 7')
    assert.deepEqual([code, out, err], [7, 'to stdout\n', 'to stderr\n'])
    const [wish] = leases.wishes
    assert.ok(wish?.kind === 'exec' && wish.session !== null)
    const { session, ...rest } = wish
    assert.equal(session.taken, null)
    assert.equal(Buffer.from(session.secret, 'base64url').length, 32)
    assert.deepEqual(rest, {
      kind: 'exec',
      lease: 'lease_of_dep_1',
      service: 'web',
      replica: 0,
      command: ['sh', '-c', 'exit 7'],
      stdin: false,
      terminal: null,
    })
  })

  it('passes standard input on, to its end', TIMEOUT, async (t) => {
    const { run, deployed, onTunnel, stdin } = await setupDeployments(t)
    await deployed()
    onTunnel(async (far) => {
      const exec = new FarExec(far)
      let input = ''
      for (let part = await exec.next(EXEC_CHANNEL.STDIN); part !== '';) {
        input += part
        part = await exec.next(EXEC_CHANNEL.STDIN)
      }
      exec.out(`${input.length} bytes`)
      exec.exit(0)
    })
    const running = run('exec', '-i', 'shop', '--', 'wc', '-c')
    stdin.end('x'.repeat(300_000))
    assert.deepEqual(await running, { code: EXIT.ok, out: '300000 bytes', err: '' })
  })

  it('gives it a terminal of the right size, and the own one back after', TIMEOUT, async (t) => {
    const { run, deployed, onTunnel, stdin, stdout, leases } = await setupDeployments(t)
    await deployed()
    stdin.isTTY = true
    onTunnel(async (far) => {
      const exec = new FarExec(far)
      stdin.write('\u0003')
      assert.equal(await exec.next(EXEC_CHANNEL.STDIN), '\u0003', 'Ctrl-C is the command’s')
      Object.assign(stdout, { columns: 100, rows: 50 }).emit('resize')
      assert.equal(await exec.next(EXEC_CHANNEL.RESIZE), '\0\u0064\0\u0032')
      exec.exit(0)
    })
    const { code, err } = await run('exec', '-it', 'shop', '--', 'sh')
    assert.equal(code, EXIT.ok, err)
    assert.deepEqual(stdin.modes, [true, false])
    const [wish] = leases.wishes
    assert.ok(wish?.kind === 'exec')
    assert.deepEqual(wish.terminal, { columns: 80, rows: 24 })
  })

  it('gives the terminal back when the connection breaks, too', TIMEOUT, async (t) => {
    const { run, deployed, onTunnel, stdin, breakTunnels } = await setupDeployments(t)
    await deployed()
    stdin.isTTY = true
    onTunnel(async (far) => {
      stdin.write('a')
      await new FarExec(far).next(EXEC_CHANNEL.STDIN)
      breakTunnels()
    })
    const { code, err } = await run('exec', '-it', 'shop', '--', 'sh')
    assert.equal(code, EXIT.unreachable)
    assert.match(err, /the connection broke off: the gateway shuts down/)
    assert.deepEqual(stdin.modes, [true, false])
  })

  it('hands an interrupt on as a signal, and says what killed it', TIMEOUT, async (t) => {
    const { run, deployed, onTunnel, interrupt, until, printed } = await setupDeployments(t)
    await deployed()
    onTunnel(async (far) => {
      const exec = new FarExec(far)
      exec.out('it runs')
      await until(() => printed().out === 'it runs')
      interrupt()
      assert.equal(await exec.next(EXEC_CHANNEL.SIGNAL), 'SIGINT')
      exec.exit(null, 'killed by SIGINT')
    })
    const { code, err } = await run('exec', 'shop', '--', 'sleep', '60')
    assert.deepEqual([code, err], [137, 'killed by SIGINT\n'])
  })

  it('gives programs JSON, one value a line', TIMEOUT, async (t) => {
    const { run, deployed, onTunnel } = await setupDeployments(t)
    await deployed()
    onTunnel((far) => {
      const exec = new FarExec(far)
      exec.out('hello\n')
      exec.exit(0)
    })
    const { out } = await run('exec', 'shop', '--json', '--', 'echo', 'hello')
    assert.equal(out, '{"stdout":"hello\\n"}\n{"exit":{"code":0,"reason":null}}\n')
  })

  it('says what is wrong before anything runs', TIMEOUT, async (t) => {
    const { run, deployed, leases } = await setupDeployments(t)
    await deployed()
    const noTerminal = await run('exec', '-it', 'shop', '--', 'sh')
    assert.equal(noTerminal.code, EXIT.usage)
    assert.match(noTerminal.err, /standard input is none/)
    const noService = await run('exec', 'shop', '--service', 'db', '--', 'sh')
    assert.match(noService.err, /shop has no service 'db'\n {2}→ it has web/)
    const long = await run('exec', 'shop', '--', 'x'.repeat(20_000))
    assert.deepEqual([long.code, leases.wishes.length], [EXIT.usage, 0])
    const refused = await run('exec', 'shop', '--', 'sh')
    assert.equal(refused.code, EXIT.refused)
    assert.match(refused.err, /The fake has no node/)
    assert.equal((await run('exec', 'none', '--', 'sh')).code, EXIT.refused)
  })
})
