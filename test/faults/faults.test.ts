/** The rows of the scorecard that guard main, in their short form; `npm run faults -- --short` runs all of them. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { rowFiles, runRow } from './campaign.ts'

/** Money. Nodes that come and go are tested with the real model (chaos-nodes); others have tests of their own or wait for a night. */
const ROWS = [3, 5, 6]
const SEED = 20_260

describe('the scorecard', { timeout: 600_000 }, () => {
  for (const file of rowFiles(ROWS))
    it(`row ${file.number}`, { timeout: 180_000 }, async (t) => {
      const { fault, measured, missing, failed } = await runRow(file, {
        form: 'short',
        seed: SEED,
        signal: t.signal,
        tell: () => {},
      })
      if (missing !== null) return t.skip(`${fault}: ${missing}`)
      t.diagnostic(`${fault}: n ${measured?.n}, ${measured?.measured ?? failed}`)
      assert.equal(failed, null)
      assert.ok(measured?.pass, measured?.measured)
    })
})
