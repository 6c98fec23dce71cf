/** A random secret of one process role, made on first run and kept where only its owner can read it. */
import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { Fault } from '../../core/base/refusal.ts'

const SECRET_BYTES = 16

/** Reads the 16 bytes at `path`, or makes them there with mode 0600. */
export function loadSecret(path: string): Buffer {
  if (!existsSync(path)) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    writeFileSync(path, randomBytes(SECRET_BYTES), { mode: 0o600, flag: 'wx' })
  }
  chmodSync(path, 0o600)
  const secret = readFileSync(path)
  if (secret.length === SECRET_BYTES) return secret
  throw new Fault(
    'secret_invalid',
    `${path} must hold ${SECRET_BYTES} bytes, it has ${secret.length}; move it away to make a new one`,
  )
}
