import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { closeFrameOf, reasonFromText, reasonOfClose } from './close-reason.ts'

const read = (...args: Parameters<typeof reasonOfClose>) => {
  const { code, message, byPeer } = reasonOfClose(...args)
  return [code, message, byPeer]
}

describe('close reasons', () => {
  it('fit a close frame, and are never cut within a character', () => {
    const message = 'ü'.repeat(200)
    const { code, text } = closeFrameOf({ code: 'link_timeout', message, byPeer: false })
    assert.equal(code, 4408)
    assert.ok(text.length <= 123)
    assert.equal(text.toString(), `link_timeout: ${'ü'.repeat(54)}`)
  })

  it('are read from the REFUSED frame, else the text, else the status', () => {
    const refusal = { code: 'link_replaced', message: 'whole' }
    assert.deepEqual(read(4409, 'link_replaced: wh', refusal), ['link_replaced', 'whole', true])
    assert.deepEqual(read(4409, 'link_replaced: wh', null), ['link_replaced', 'wh', true])
    assert.deepEqual(read(1009, '', null).slice(0, 1), ['link_frame_too_large'])
    assert.deepEqual(read(1006, '', null), ['link_lost', 'the connection broke', false])
    assert.deepEqual(read(4999, 'constructor: x', { code: 'toString', message: '' }).slice(0, 1), [
      'link_lost',
    ])
  })

  it('may be given as text by the program', () => {
    assert.deepEqual(reasonFromText('link_malformed_frame: bad tokens'), {
      code: 'link_malformed_frame',
      message: 'bad tokens',
      byPeer: false,
    })
    assert.deepEqual(reasonFromText('operator: ban'), {
      code: 'link_closed',
      message: 'operator: ban',
      byPeer: false,
    })
  })
})
