/** API keys are 256 random bits; only their SHA-256 is kept, which such a key needs no salt for. */
import { sha256Hex } from '../../../io/keys/identity.ts'

const SECRET_BYTES = 32
const HINT_CHARACTERS = 10

export function mintSecret(randomBytes: (count: number) => Uint8Array) {
  const secret = `sk-bl-${Buffer.from(randomBytes(SECRET_BYTES)).toString('base64url')}`
  return { secret, hash: sha256Hex(secret), hint: secret.slice(0, HINT_CHARACTERS) }
}
