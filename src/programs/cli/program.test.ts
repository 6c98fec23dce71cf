import assert from 'node:assert/strict'
import { statSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Command } from 'commander'
import { sendJson, setup } from './fake-shell.ts'
import { buildProgram } from './program.ts'
import { EXIT } from './shell/failure.ts'
import { readNetworkFile, writeNetworkFile } from './shell/network-file.ts'

const TIMEOUT = { timeout: 20_000 }

describe('the command line', TIMEOUT, () => {
  it('shows an example in the help of every command, and takes --json everywhere', TIMEOUT, () => {
    const { shell, close } = setup()
    const commands = leaves(buildProgram(shell))
    assert.ok(commands.length >= 13, `only ${commands.length} commands found`)
    for (const command of commands) {
      let help = ''
      command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp()
      assert.match(help, /\nExample:\n {2}\$ .*baseload /, `${command.name()} needs an example`)
      assert.match(help, /--json/, `${command.name()} needs --json`)
      assert.ok(command.description() !== '', `${command.name()} needs a description`)
    }
    close()
  })

  it('ends with 2 on wrong usage, and hints at what was meant', TIMEOUT, async () => {
    const { run, close } = setup()
    for (const args of [
      ['modles'],
      ['models', '--jsn'],
      ['keys', 'create'],
      ['chat', '--seed', 'x'],
    ]) {
      const { code, err } = await run(...args)
      assert.equal(code, EXIT.usage, args.join(' '))
      assert.match(err, /^✗ /)
      assert.doesNotMatch(err, /\n {4}at /)
    }
    assert.match((await run('modles')).err, /Did you mean models/)
    assert.match((await run('models', '--timeout-ms', 'soon')).err, /from --timeout-ms/)
    assert.equal((await run('models')).code, EXIT.usage, 'no gateway is known')
    close()
  })

  it('ends with 4 when nobody answers, and says what to do', TIMEOUT, async () => {
    const { run, gone, close } = setup()
    const { code, err } = await run('account', '--url', await gone())
    assert.equal(code, EXIT.unreachable)
    assert.match(err, /cannot reach the gateway at .*ECONNREFUSED\n {2}→ .*npm start/)
    close()
  })

  it('ends with 4 when the gateway is silent for too long', TIMEOUT, async () => {
    const { run, listen, close } = setup()
    const url = await listen(() => {})
    const { code, err } = await run('account', '--url', url, '--timeout-ms', '100')
    assert.equal(code, EXIT.unreachable)
    assert.match(err, /no answer within 0\.1 s/)
    close()
  })

  it("ends with 3 and the gateway's own words when it refuses", TIMEOUT, async () => {
    const { run, listen, close } = setup()
    const url = await listen((_, response) =>
      sendJson(response, 401, { error: { message: 'No such key.', code: 'invalid_api_key' } }),
    )
    const { code, err } = await run('account', '--url', url)
    assert.equal(code, EXIT.refused)
    assert.match(err, /^✗ No such key\.\n {2}→ check BASELOAD_API_KEY/)
    const json = await run('account', '--url', url, '--json')
    assert.equal(JSON.parse(json.err).error.code, 'invalid_api_key')
    assert.equal(json.out, '')
    close()
  })

  it('ends with 3 when it is no gateway at all', TIMEOUT, async () => {
    const { run, listen, close } = setup()
    const url = await listen((_, response) => response.writeHead(404).end('<html>nginx</html>'))
    const { code, err } = await run('models', '--url', url)
    assert.equal(code, EXIT.refused)
    assert.match(err, /is this the address of a Baseload gateway/)
    close()
  })

  it('ends with 130 when it is interrupted', TIMEOUT, async () => {
    const { run, listen, interrupt, close } = setup()
    const url = await listen(() => interrupt())
    assert.equal((await run('account', '--url', url)).code, EXIT.interrupted)
    close()
  })

  it('shows where an error comes from only with --debug', TIMEOUT, async () => {
    const { run, gone, close } = setup()
    const { err } = await run('account', '--debug', '--url', await gone())
    assert.match(err, /\n {4}at /)
    close()
  })

  it(
    'finds the local network by network.json, and sends its key to nobody else',
    TIMEOUT,
    async () => {
      const { run, listen, home, close } = setup()
      const keys: (string | undefined)[] = []
      const answer = (request: IncomingMessage, response: ServerResponse) => {
        keys.push(request.headers.authorization)
        sendJson(response, 200, { object: 'list', data: [], has_more: false })
      }
      const [own, foreign] = [await listen(answer), await listen(answer)]
      writeNetworkFile(home, network(own))
      assert.equal((await run('keys', 'list')).code, EXIT.ok)
      assert.equal((await run('keys', 'list', '--url', `${own}/v1`)).code, EXIT.ok)
      assert.equal((await run('keys', 'list', '--url', foreign)).code, EXIT.ok)
      assert.deepEqual(keys, ['Bearer sk-local', 'Bearer sk-local', undefined])
      close()
    },
  )

  it('takes a key from a file, before that of the environment', TIMEOUT, async () => {
    const { run, listen, home, close } = setup({ BASELOAD_API_KEY: 'sk-env' })
    const keys: (string | undefined)[] = []
    const url = await listen((request, response) => {
      keys.push(request.headers.authorization)
      sendJson(response, 200, { object: 'list', data: [], has_more: false })
    })
    writeFileSync(join(home, 'key.txt'), 'sk-file\n')
    await run('keys', '--url', url)
    await run('keys', '--url', url, '--key-file', join(home, 'key.txt'))
    assert.deepEqual(keys, ['Bearer sk-env', 'Bearer sk-file'])
    assert.equal((await run('keys', '--url', url, '--key-file', '/no/file')).code, EXIT.usage)
    close()
  })

  it('prints the manual of all settings', TIMEOUT, async () => {
    const { run, close } = setup()
    const { out } = await run('help', 'config', 'gateway')
    assert.match(out, /BASELOAD_QUEUE_TIMEOUT_MS/)
    assert.equal((await run('help', 'config', 'nobody')).code, EXIT.usage)
    assert.match((await run('help', 'chat')).out, /Usage: baseload chat/)
    close()
  })
})

describe('network.json', TIMEOUT, () => {
  it('is private, and comes back as it was written', () => {
    const { home, close } = setup()
    writeNetworkFile(home, network('http://127.0.0.1:1'))
    assert.equal(statSync(join(home, 'network.json')).mode & 0o777, 0o600)
    assert.deepEqual(readNetworkFile(home), network('http://127.0.0.1:1'))
    close()
  })

  it('is null when there is none, and an explained failure when it is damaged', () => {
    const { home, close } = setup()
    assert.equal(readNetworkFile(home), null)
    writeFileSync(join(home, 'network.json'), '{"url": 7}')
    assert.throws(() => readNetworkFile(home), /cannot read .*network\.json/)
    close()
  })
})

const network = (url: string) => ({
  url,
  apiKey: 'sk-local',
  consoleUrl: null,
  nodes: [{ id: 'node_1', pid: 1234 }],
  gateway: { pid: 1233 },
  supervisor: { pid: null },
  operatorKey: 'sk-operator',
})

/** Commands that do something: those without subcommands. */
function leaves(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leaves)
}
