import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setup } from '../fake-shell.ts'
import { askSecret } from './ask-secret.ts'

const TIMEOUT = { timeout: 10_000 }

describe('a question for a secret', TIMEOUT, () => {
  it('gives what was typed, and shows none of it', TIMEOUT, async () => {
    const { shell, stdin, printed, close } = setup()
    const asked = askSecret(shell.stdio, 'Password: ', shell.stops.stop)
    stdin.write('corrext\x7F\x7Fct horse\r')
    assert.equal(await asked, 'correct horse')
    assert.equal(printed().out, '')
    assert.equal(printed().err, 'Password: \n')
    // Raw while it asks, so that the terminal does not echo, and given back.
    assert.deepEqual(stdin.modes, [true, false])
    close()
  })

  for (const [name, typed] of [
    ['Ctrl-C', 'abc\x03'],
    ['Ctrl-D', '\x04'],
  ] as const)
    it(`ends on ${name}`, TIMEOUT, async () => {
      const { shell, stdin, close } = setup()
      const asked = askSecret(shell.stdio, 'Password: ', shell.stops.stop)
      stdin.write(typed)
      await assert.rejects(asked, { name: 'Failure', code: 'interrupted' })
      assert.equal(stdin.modes.at(-1), false)
      close()
    })

  it('ends when the command is stopped', TIMEOUT, async () => {
    const { shell, interrupt, close } = setup()
    const asked = askSecret(shell.stdio, 'Password: ', shell.stops.stop)
    interrupt()
    await assert.rejects(asked, { code: 'interrupted' })
    close()
  })
})
