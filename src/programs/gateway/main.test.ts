import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { fakeS3 } from '../../io/objects/fake-s3.ts'
import { testDatabaseUrl } from '../../io/store/testing.ts'
import { silentLogger } from '../../io/telemetry/logger.ts'
import { gatewayConfig } from './config.ts'
import { startGateway } from './main.ts'

const timeout = 30_000

describe('the start of a gateway', () => {
  it('tries where snapshots go, once, and says it in one line', { timeout }, async (t) => {
    const { start, s3 } = await setup(t)
    const gateway = await start()
    assert.equal(gateway.snapshots, `s3://snapshots/net/ at 127.0.0.1:${s3.port}`)
    assert.equal(s3.asked.filter((call) => call.startsWith('PUT ')).length, 1)
    assert.equal(s3.objects.size, 0)
    await gateway.close()
  })

  it(
    'ends with the setting where the bucket refuses, before anything else',
    { timeout },
    async (t) => {
      const { start } = await setup(t, { s3SecretAccessKey: 'not-this-one' })
      await assert.rejects(start('postgres://127.0.0.1:1/none'), (error: Error) => {
        assert.match(
          error.message,
          /bucket snapshots .* SignatureDoesNotMatch.*AWS_SECRET_ACCESS_KEY/,
        )
        assert.ok(!String(error.stack).includes('not-this-one'))
        return true
      })
    },
  )

  it('goes on where the bucket is only away for the moment', { timeout }, async (t) => {
    const { start, s3 } = await setup(t)
    s3.close()
    const gateway = await start()
    await gateway.close()
  })
})

async function setup(t: TestContext, settings: { s3SecretAccessKey?: string } = {}) {
  const s3 = await fakeS3()
  const home = mkdtempSync(join(tmpdir(), 'baseload-gateway-'))
  t.after(() => {
    s3.close()
    rmSync(home, { recursive: true, force: true })
  })
  const { bucket, region, accessKeyId, secretAccessKey } = s3.settings
  const start = async (databaseUrl?: string) =>
    await startGateway(
      gatewayConfig.parse({
        home,
        databaseUrl: databaseUrl ?? (await testDatabaseUrl()),
        snapshots: `s3://${bucket}/net`,
        s3Endpoint: s3.endpoint,
        s3Region: region,
        s3AccessKeyId: accessKeyId,
        s3SecretAccessKey: secretAccessKey,
        ...settings,
      }),
      { logger: silentLogger, say: () => {} },
    )
  return { s3, start }
}
