/** `baseload cp`: files and folders into a container and out of it, as tar streams. */
import { lstatSync, statSync, type Stats } from 'node:fs'
import { posix, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Command } from 'commander'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import { readAccess } from '../shell/client-settings.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { openBoundTunnel, tunnelFailure } from '../shell/tunnel-client.ts'
import { clientOf, describeClient, print, type Flags, type Shell } from './command.ts'
import { fetchDeployment } from './deployment-answers.ts'
import { firstType, packInto, unpackAs, type Copied } from './tar-copy.ts'
import { targetOf, withTarget } from './target.ts'
import { isPassing, pauseMs } from './try-again.ts'

/** A gateway that restarts has its nodes back within seconds. */
const PATIENCE_MS = 15_000

export function cpCommand(command: Command, shell: Shell): Command {
  return withTarget(
    describeClient(
      command
        .argument('<from>', 'a local path, or <deployment>:<path>')
        .argument('<to>', 'the other of the two'),
      'Copy files and folders into a container, or out of it',
      'baseload cp ./site shop:/usr/share/nginx/html --service web',
      'baseload cp shop:/var/lib/app/export.csv .',
    ),
  ).action(async (from: string, to: string, flags: Flags) => {
    const [source, target] = [remoteOf(from), remoteOf(to)]
    if (source && !target) return copyOut(source, to, flags, shell)
    if (target && !source) return copyIn(from, target, flags, shell)
    const why = source ? 'both are in containers' : 'neither is in a container'
    throw new Failure(EXIT.usage, `${why}: one path is local, the other <deployment>:<path>`, {
      next: 'a local name with a colon is written with ./ before it',
    })
  })
}

type Remote = { readonly deployment: string; readonly path: string; readonly saysFolder: boolean }

function remoteOf(text: string): Remote | null {
  const [, deployment, path] = /^([\w-]+):(.+)$/s.exec(text) ?? []
  if (deployment === undefined || path === undefined) return null
  const whole = posix.normalize(`/${path}`)
  const saysFolder = whole.endsWith('/') || /(^|\/)\.$/.test(path)
  return { deployment, path: whole.replace(/(?<=.)\/$/, ''), saysFolder }
}

/** To a container: into the folder of that name where there is one, else as that name. */
async function copyIn(from: string, to: Remote, flags: Flags, shell: Shell): Promise<void> {
  const local = resolve(from)
  if (statOf(local, true) === null)
    throw new Failure(EXIT.usage, `there is no ${from} here`, { code: 'path_not_found' })
  const open = await tunnels(to, flags, shell)
  const into = to.saysFolder || (await isFolder(to, open))
  const [folder, name] = into
    ? [to.path, posix.basename(local)]
    : [posix.dirname(to.path), posix.basename(to.path)]
  const copied = await startingOver(shell, async () =>
    packInto(await open('copy-in', folder), local, name),
  )
  await report(copied, `${to.deployment}:${posix.join(folder, name)}`, flags, shell)
}

/** From a container: into the folder of that name where there is one, else as that name. */
async function copyOut(from: Remote, to: string, flags: Flags, shell: Shell): Promise<void> {
  if (from.path === '/')
    throw new Failure(EXIT.usage, 'a whole file system is not copied; name a folder in it')
  const local = resolve(to)
  const isLocalFolder = statOf(local, false)?.isDirectory() === true
  if (!isLocalFolder && /[/\\]$/.test(to))
    throw new Failure(EXIT.usage, `there is no folder ${to} here`, { next: `mkdir -p ${to}` })
  const open = await tunnels(from, flags, shell)
  const [folder, name] = isLocalFolder
    ? [local, posix.basename(from.path)]
    : [resolve(local, '..'), posix.basename(local)]
  const note = (text: string): void => shell.terminal.err(`! ${text}\n`)
  const copied = await startingOver(shell, async () =>
    unpackAs(await open('copy-out', from.path), folder, name, note),
  )
  await report(copied, resolve(folder, name), flags, shell)
}

/** A copy whose way was lost, as by a gateway that restarts, begins anew: it writes the same under the same name. */
async function startingOver(
  { terminal, stops }: Shell,
  copy: () => Promise<Copied>,
): Promise<Copied> {
  for (let failures = 1, until = Infinity; ; failures += 1) {
    try {
      return await copy()
    } catch (error) {
      const failure = tunnelFailure(error)
      const isLost = (error instanceof Fault || error instanceof Failure) && isPassing(failure)
      if (failures === 1) until = performance.now() + PATIENCE_MS
      if (!isLost || performance.now() > until) throw failure
      if (failures === 1) terminal.err(`${failure.message}; starting over\n`)
      // Ctrl-C in the pause is heard by the next try.
      await pause(pauseMs(failures), null, { signal: stops.stop }).catch(() => {})
    }
  }
}

type Open = Awaited<ReturnType<typeof tunnels>>

async function tunnels({ deployment }: Remote, flags: Flags, shell: Shell) {
  const found = await fetchDeployment(clientOf(flags, shell), deployment)
  const target = targetOf(found, flags)
  const access = readAccess(flags, shell.env)
  return (kind: 'copy-in' | 'copy-out', path: string) =>
    openBoundTunnel(access, found.id, { kind, ...target, path }, shell.stops.stop)
}

/** Asks for the path, and looks at no more than the first entry. */
async function isFolder({ path }: Remote, open: Open): Promise<boolean> {
  if (path === '/') return true
  try {
    return (await firstType(await open('copy-out', path))) === 'Directory'
  } catch (error) {
    if (error instanceof Failure && error.reason === 'path_not_found') return false
    throw tunnelFailure(error)
  }
}

function statOf(path: string, mustBeReadable: boolean): Stats | null {
  try {
    return mustBeReadable ? lstatSync(path) : statSync(path)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw new Failure(EXIT.failure, `cannot use ${path}: ${reasonOf(error)}`, { cause: error })
  }
}

const report = ({ files, bytes }: Copied, to: string, flags: Flags, { terminal }: Shell) =>
  print(flags, terminal, { to, files, bytes }, () => {
    terminal.err(`${files} ${files === 1 ? 'file' : 'files'}, ${bytes} bytes → ${to}\n`)
    return ''
  })
