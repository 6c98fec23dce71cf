/** A gateway that dies at any statement of an epoch's closing leaves the whole of it, or nothing; whoever comes next closes it. */
import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { describe, it, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { silentLogger } from '../../src/io/telemetry/logger.ts'
import { earn, nameAddress, testAddress, testClosing } from '../../src/io/store/payout-kit.ts'
import { PAYOUTS } from '../../src/io/store/payout-records.ts'
import { createPostgresStore } from '../../src/io/store/postgres-store.ts'
import { nodeLedger, type Store } from '../../src/io/store/store.ts'
import { testDatabaseUrl, testTenant } from '../../src/io/store/testing.ts'

/** More than a closing has statements: the last ones let it finish. */
const MAX_STEPS = 40

describe('closing a payout epoch', { timeout: 300_000 }, () => {
  it('survives SIGKILL before and after each of its statements', async (t) => {
    const { store, url, account } = await setup(t)
    let epoch = 1
    let paid = 0n
    let [whole, nothing] = [0, 0]
    for (let step = 0; ; step++) {
      assert.ok(step < MAX_STEPS, 'a closing ends')
      for (const node of ['node_a', 'node_b'])
        await earn(store, { account, node, nanoUsd: 7_000n + BigInt(step) * 1_000n })
      const killed = await closeInChild({ url, epoch, step })
      const [closed] = (await store.payoutEpochs({ limit: 1, before: epoch + 1 })).filter(
        (one) => one.closed !== null,
      )
      await audited(store)
      if (closed) {
        whole += 1
        assert.equal((await store.chainActions({ kind: 'payout-root', limit: 100 })).length, epoch)
      } else {
        nothing += 1
        const outcome = await store.closePayoutEpoch(testClosing(epoch))
        assert.ok(typeof outcome === 'object', 'it is closed')
      }
      const after = await store.payoutEpoch(epoch)
      assert.equal(after?.closed?.paidUnits, 2n * (7n + BigInt(step)))
      paid += after?.closed?.paidUnits ?? 0n
      assert.equal(await store.closePayoutEpoch(testClosing(epoch)), 'late')
      epoch += 1
      if (!killed) break
    }
    assert.ok(whole > 0 && nothing > 5, `${whole} were whole, ${nothing} undone`)
    assert.equal((await store.balance(PAYOUTS)).balanceNanoUsd, paid * 1_000n)
    for (const node of ['node_a', 'node_b'])
      assert.equal((await store.balance(nodeLedger(node))).balanceNanoUsd, 0n)
    await audited(store)
    t.diagnostic(
      `killed at ${epoch - 2} statements: ${whole} closings were whole, ${nothing} undone`,
    )
  })
})

/** True: it was killed at that step. False: it had fewer. */
async function closeInChild(plan: { url: string; epoch: number; step: number }): Promise<boolean> {
  const program = fileURLToPath(new URL('../support/closing-child.ts', import.meta.url))
  const child = fork(program, [JSON.stringify(plan)], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const [code, signal] = await once(child, 'exit')
  if (signal === null) assert.equal(code, 0)
  return signal === 'SIGKILL'
}

async function audited(store: Store): Promise<void> {
  const { sumNanoUsd, wrong } = await store.audit()
  assert.deepEqual([sumNanoUsd, wrong], [0n, []])
}

async function setup(t: TestContext) {
  const url = await testDatabaseUrl()
  const store = await createPostgresStore({ url, logger: silentLogger })
  t.after(() => store.close())
  const account = await testTenant(store, 10n ** 12n)
  await store.openPayoutEpoch({ number: 1, feeBps: 0, now: 0 })
  await nameAddress(store, 'node_a', testAddress(0xa))
  await nameAddress(store, 'node_b', testAddress(0xb))
  return { store, url, account }
}
