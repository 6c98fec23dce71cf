/** A wallet's password: from a file, the environment or a prompt, never from the command line. */
import { readFileSync, statSync } from 'node:fs'
import { reasonOf } from '../../../core/base/refusal.ts'
import type { Shell } from '../commands/command.ts'
import { askSecret } from './ask-secret.ts'
import { EXIT, Failure } from './failure.ts'

/** A keystore that somebody copied is only as good as this. */
export const MIN_PASSWORD_CHARS = 8
const MAX_PASSWORD_BYTES = 1024

/** `file`: of --password-file. Throws Failure. */
export async function readPassword(
  file: string | undefined,
  shell: Shell,
  question: string,
): Promise<string> {
  if (file !== undefined) return fromFile(file)
  const fromEnv = shell.env['BASELOAD_WALLET_PASSWORD']
  if (fromEnv !== undefined && fromEnv !== '') return fromEnv
  if (shell.terminal.canAsk) return askSecret(shell.stdio, question, shell.stops.stop)
  throw unusable(
    'the wallet needs its password, and there is no terminal to ask on',
    'give --password-file <file>, or set BASELOAD_WALLET_PASSWORD',
  )
}

/** For a new keystore: asked for twice, and not too short. */
export async function readNewPassword(
  file: string | undefined,
  shell: Shell,
  name: string,
): Promise<string> {
  const password = await readPassword(file, shell, `New password for wallet '${name}': `)
  if (password.length < MIN_PASSWORD_CHARS)
    throw unusable(
      `the password is shorter than ${MIN_PASSWORD_CHARS} characters`,
      'whoever copies the keystore can try passwords for ever: take a long one',
    )
  const asked = file === undefined && !shell.env['BASELOAD_WALLET_PASSWORD']
  if (!asked) return password
  const again = await askSecret(shell.stdio, 'The same again: ', shell.stops.stop)
  if (again === password) return password
  throw unusable('the two passwords are not the same', 'nothing was written; try again')
}

function fromFile(path: string): string {
  const text = readSecretFile(path, MAX_PASSWORD_BYTES)
  const password = text.replace(/\r?\n$/, '')
  if (password !== '') return password
  throw unusable(`${path} holds no password`, 'write it on the first line')
}

/** A small file that nobody else on this machine can read. Its content is never quoted. */
export function readSecretFile(path: string, maxBytes: number): string {
  try {
    const about = statSync(path)
    if (about.isFile() && (about.mode & 0o077) !== 0 && process.platform !== 'win32')
      throw unusable(`${path} can be read by others on this machine`, `chmod 600 ${path}`)
    if (about.size > maxBytes)
      throw unusable(`${path} is larger than ${maxBytes} bytes`, 'name another file')
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Failure) throw error
    throw unusable(`cannot read ${path}: ${reasonOf(error)}`, 'name another file')
  }
}

const unusable = (message: string, next: string): Failure =>
  new Failure(EXIT.usage, message, { code: 'password_unusable', next })
