import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { openObjectStore, type ObjectSettings } from './open-store.ts'

describe('where snapshots go', () => {
  it('is a folder of the home, which belongs to this gateway alone', () => {
    assert.equal(open({}).place, 'gateway gw_a')
  })

  it('is a folder that several gateways may share', () => {
    assert.equal(open({ snapshots: '/mnt/snapshots' }).place, 'folder /mnt/snapshots')
  })

  it('is a bucket, at Amazon or elsewhere', () => {
    assert.equal(open({ snapshots: 's3://b-1/a/b' }).place, 's3://b-1/a/b/ at eu-test-1')
    const elsewhere = { snapshots: 's3://b-1', s3Endpoint: 'http://127.0.0.1:9000' }
    assert.equal(open(elsewhere).place, 's3://b-1/ at 127.0.0.1:9000')
    assert.equal(open({ snapshots: 's3://b-1/' }).place, 's3://b-1/ at eu-test-1')
  })

  it('refuses what is neither, and names the setting', () => {
    for (const snapshots of [
      'snapshots',
      's3://',
      's3://B',
      's3://b-1/../x',
      's3://b-1/a//b',
      'http://x',
    ])
      assert.throws(() => open({ snapshots }), { code: 'config_invalid', message: /--snapshots/ })
  })

  it('refuses a bucket without keys, and names the one that is missing', () => {
    const snapshots = 's3://b-1'
    assert.throws(() => open({ snapshots, s3AccessKeyId: null }), /AWS_ACCESS_KEY_ID is not set/)
    assert.throws(() => open({ snapshots, s3SecretAccessKey: null }), /AWS_SECRET_ACCESS_KEY is/)
  })
})

const open = (settings: Partial<ObjectSettings>) =>
  openObjectStore(
    {
      home: '/home/gateway',
      snapshots: null,
      s3Endpoint: null,
      s3Region: 'eu-test-1',
      s3PathStyle: null,
      s3AccessKeyId: 'AK',
      s3SecretAccessKey: 'secret',
      s3SessionToken: null,
      ...settings,
    },
    'gw_a',
  )
