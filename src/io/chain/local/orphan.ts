/** A child that outlived the program that started it: found by its pid, and known by a path of ours on its command line. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

const GRACE_MS = 3_000
const LOOK_EVERY_MS = 20

/** `marker` is an argument that no other process has. */
export const notePid = (file: string, pid: number, marker: string): void =>
  writeFileSync(file, `${pid}\n${marker}\n`, { mode: 0o600 })

/** Ends it, if it still runs; never another process that has its number now. */
export async function endOrphan(file: string): Promise<void> {
  if (!existsSync(file)) return
  const [pid = 0, marker = ''] = readFileSync(file, 'utf8')
    .split('\n')
    .map((line, index) => (index === 0 ? Number(line) : line))
  const runs = (): boolean =>
    typeof pid === 'number' && pid > 0 && marker !== '' && commandOf(pid).includes(String(marker))
  const end = (signal: NodeJS.Signals): void => {
    try {
      process.kill(Number(pid), signal)
    } catch {
      // It ended by itself.
    }
  }
  if (runs()) end('SIGTERM')
  for (let waited = 0; runs() && waited < GRACE_MS; waited += LOOK_EVERY_MS)
    await sleep(LOOK_EVERY_MS)
  if (runs()) end('SIGKILL')
  while (runs()) await sleep(LOOK_EVERY_MS)
  rmSync(file, { force: true })
}

/** Empty when there is no such process. */
function commandOf(pid: number): string {
  try {
    if (process.platform === 'linux') return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
    return execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' })
  } catch {
    return ''
  }
}
