import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { undoText } from './container-firewall.ts'

describe('undoing what an engine did to the firewall', () => {
  it('removes its chains, its rules and its policy, and nothing of others', () => {
    const before = ['*filter', ':INPUT ACCEPT [0:0]', ':FORWARD ACCEPT [1:2]', 'COMMIT\n'].join(
      '\n',
    )
    const after = [
      '*filter',
      ':INPUT ACCEPT [0:0]',
      ':FORWARD DROP [9:9]',
      ':DOCKER-USER - [0:0]',
      '-A INPUT -p tcp --dport 22 -j ACCEPT',
      '-A FORWARD -m comment --comment "docker rules" -j DOCKER-USER',
      '-A DOCKER-USER -j RETURN',
      'COMMIT\n',
    ].join('\n')
    assert.equal(
      undoText(before, after),
      [
        '*filter',
        ':FORWARD ACCEPT',
        '-D FORWARD -m comment --comment "docker rules" -j DOCKER-USER',
        '-F DOCKER-USER',
        '-X DOCKER-USER',
        'COMMIT\n',
      ].join('\n'),
    )
    assert.equal(undoText(after, after), '')
  })
})
