import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setupControl } from './test-network.ts'

describe('channel routes', () => {
  it('say so where nothing is settled on a chain', async () => {
    const { ask, alice } = await setup()
    for (const [method, path, body] of [
      ['GET', '/v1/chain', undefined],
      ['GET', '/v1/channels', undefined],
      ['POST', '/v1/channels', bindBody()],
      ['POST', `/v1/channels/${ID}/vouchers`, bindBody().voucher],
      ['POST', `/v1/channels/${ID}/close`, undefined],
    ] as const) {
      const { status, code } = await ask(alice, method, path, body)
      assert.deepEqual([status, code], [404, 'settlement_off'], path)
    }
  })

  it('refuse what is no config or voucher, by name', async () => {
    const { ask, alice } = await setup()
    const body = bindBody()
    const { config, voucher } = body
    for (const [wrong, param] of [
      [{ ...body, config: { ...config, payer: '0x12' } }, 'config.payer'],
      [{ ...body, config: { ...config, salt: `0x${'zz'.repeat(32)}` } }, 'config.salt'],
      [{ ...body, config: { ...config, withdrawDelay: -1 } }, 'config.withdrawDelay'],
      [{ ...body, config: { ...config, withdrawDelay: 2 ** 40 } }, 'config.withdrawDelay'],
      [{ ...body, voucher: { ...voucher, signature: '0x00' } }, 'voucher.signature'],
      [
        { ...body, voucher: { ...voucher, maxClaimableAmount: '-1' } },
        'voucher.maxClaimableAmount',
      ],
      [
        { ...body, voucher: { ...voucher, maxClaimableAmount: '1.5' } },
        'voucher.maxClaimableAmount',
      ],
      [
        { ...body, voucher: { ...voucher, maxClaimableAmount: String(2n ** 128n) } },
        'voucher.maxClaimableAmount',
      ],
    ] as const) {
      const { status, answer } = await ask(alice, 'POST', '/v1/channels', wrong)
      assert.equal(status, 400)
      assert.equal(answer['error']?.['param'], param)
    }
    const other = await ask(alice, 'POST', '/v1/channels/0x12/close')
    assert.equal(other.status, 400)
  })

  it('take an account’s key only', async () => {
    const { ask, inference } = await setup()
    assert.equal((await ask(inference, 'POST', '/v1/channels', bindBody())).code, 'scope_missing')
    const stranger = await ask('sk-bl-nobody', 'GET', '/v1/channels')
    assert.equal(stranger.status, 401)
  })
})

const ID = `0x${'ab'.repeat(32)}`

const bindBody = () => ({
  config: {
    payer: `0x${'a1'.repeat(20)}`,
    payerAuthorizer: `0x${'00'.repeat(20)}`,
    receiver: `0x${'b2'.repeat(20)}`,
    receiverAuthorizer: `0x${'B2'.repeat(20)}`,
    token: `0x${'c3'.repeat(20)}`,
    withdrawDelay: 3_600,
    salt: `0x${'00'.repeat(32)}`,
  },
  voucher: { maxClaimableAmount: String(2n ** 128n - 1n), signature: `0x${'00'.repeat(65)}` },
})

async function setup() {
  const control = await setupControl()
  const inference = await control.keyFor(control.alice, { scopes: ['inference'] })
  return { ask: control.ask, alice: control.alices.secret, inference: inference.secret }
}
