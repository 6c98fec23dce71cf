/** The object store that a gateway's settings name: a folder, or a bucket. */
import { isAbsolute, join } from 'node:path'
import { Fault } from '../../core/base/refusal.ts'
import { FolderStore } from './folder-store.ts'
import { partsOf, type ObjectStore } from './object-store.ts'
import { S3Store } from './s3-store.ts'

export type ObjectSettings = {
  readonly home: string
  /** Null: the gateway's own folder; an absolute path; or `s3://bucket/prefix`. */
  readonly snapshots: string | null
  readonly s3Endpoint: string | null
  readonly s3Region: string
  readonly s3PathStyle: boolean | null
  readonly s3AccessKeyId: string | null
  readonly s3SecretAccessKey: string | null
  readonly s3SessionToken: string | null
}

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, and older names with `_`. */
const BUCKET = /^s3:\/\/([a-z0-9][a-z0-9._-]{1,61}[a-z0-9])(?:\/(.*?))?\/?$/

/** Throws Fault `config_invalid` for what cannot be. Nothing is asked of anybody yet. */
export function openObjectStore(settings: ObjectSettings, gateway: string): ObjectStore {
  const { snapshots, home } = settings
  if (snapshots === null) return new FolderStore(join(home, 'snapshots'), `gateway ${gateway}`)
  if (isAbsolute(snapshots)) return new FolderStore(snapshots)
  const [, bucket, prefix = ''] = BUCKET.exec(snapshots) ?? []
  if (bucket === undefined || !isPrefix(prefix))
    throw invalid(`--snapshots is a folder from / on, or s3://bucket/prefix; it is "${snapshots}"`)
  const { s3Endpoint, s3Region, s3AccessKeyId, s3SecretAccessKey, s3SessionToken } = settings
  if (s3AccessKeyId === null || s3SecretAccessKey === null) {
    const missing = s3AccessKeyId === null ? 'AWS_ACCESS_KEY_ID' : 'AWS_SECRET_ACCESS_KEY'
    throw invalid(`snapshots go to ${snapshots}, and ${missing} is not set`)
  }
  return new S3Store({
    bucket,
    prefix,
    endpoint: s3Endpoint,
    region: s3Region,
    // A name with a dot has no certificate in front of a host; services other than Amazon's have path style all.
    pathStyle: settings.s3PathStyle ?? (s3Endpoint !== null || bucket.includes('.')),
    accessKeyId: s3AccessKeyId,
    secretAccessKey: s3SecretAccessKey,
    sessionToken: s3SessionToken,
  })
}

function isPrefix(prefix: string): boolean {
  try {
    return prefix === '' || partsOf(prefix).length > 0
  } catch {
    return false
  }
}

const invalid = (message: string): Fault => new Fault('config_invalid', message)
