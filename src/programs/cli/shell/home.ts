/** BASELOAD_HOME: keys, database, engines, logs. Only its owner may look inside. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { reasonOf } from '../../../core/base/refusal.ts'
import { EXIT, Failure } from './failure.ts'

/** The flag, else BASELOAD_HOME, else ~/.baseload; always absolute. */
export function homeFolder(flag: string | undefined, env: NodeJS.ProcessEnv): string {
  return resolve(flag ?? (env['BASELOAD_HOME'] || join(homedir(), '.baseload')))
}

/** Makes the folder with mode 0700. One that exists stays as it is: its owner may have a reason to let others in. */
export function makePrivateFolder(path: string): string {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new Failure(EXIT.failure, `cannot use ${path} as a home: ${reasonOf(error)}`, {
      next: 'choose a folder you can write with --home or BASELOAD_HOME',
      cause: error,
    })
  }
  return path
}

/** The package's folder, from src/ (tsx) as from dist/src/. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!isOurs(join(folder, 'package.json'))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error('this program is not inside its package any more')
    folder = parent
  }
  return folder
}

const isOurs = (path: string): boolean =>
  existsSync(path) && /"name":\s*"baseload"/.test(readFileSync(path, 'utf8'))
