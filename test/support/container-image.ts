/**
 * Images for tests, made without any registry or engine: busybox and Perl with what they need of Debian, packed as
 * `docker save` packs. Perl makes any system call; busybox's static name look-ups crash, Perl's do not.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import {
  copyFile,
  cp,
  mkdir,
  mkdtemp,
  readFile,
  realpath,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { promisify } from 'node:util'

const run = promisify(execFile)

export type ImageConfig = {
  readonly Env?: readonly string[]
  readonly Cmd?: readonly string[]
  readonly Entrypoint?: readonly string[]
  readonly User?: string
  /** Nanoseconds, as Docker has it. */
  readonly Healthcheck?: {
    readonly Test: readonly string[]
    readonly Interval: number
    readonly Retries: number
  }
}

/** The files of all images: one layer, packed once. */
export type Layer = { readonly tar: string; remove(): Promise<void> }

export async function makeLayer(): Promise<Layer> {
  const folder = await mkdtemp(join(tmpdir(), 'baseload-image-'))
  const root = join(folder, 'root')
  for (const part of ['bin', 'etc', 'tmp', 'www', 'dev', 'proc', 'sys', 'run'])
    await mkdir(join(root, part), { recursive: true })
  await copyFile('/bin/busybox', join(root, 'bin/busybox'))
  const { stdout: applets } = await run('/bin/busybox', ['--list'])
  for (const applet of applets.split('\n').filter((name) => name !== '' && name !== 'busybox'))
    await symlink('busybox', join(root, 'bin', applet))
  await copyProgram('/usr/bin/perl', root)
  await writeFile(
    join(root, 'etc/passwd'),
    'root:x:0:0:root:/:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n',
  )
  await writeFile(join(root, 'etc/group'), 'root:x:0:\nweb:x:1000:\n')
  await writeFile(join(root, 'www/index.html'), 'hello from a lease\n')
  await writeFile(join(root, 'bin/echoes'), ECHOES, { mode: 0o755 })
  const tar = join(folder, 'layer.tar')
  await run('tar', ['-C', root, '--owner=0', '--group=0', '-cf', tar, '.'])
  return { tar, remove: () => rm(folder, { recursive: true, force: true }) }
}

/** `echoes 7`: on TCP answers a line with its host's name and the line, on UDP the same bytes. */
const ECHOES = `#!/bin/perl
$| = 1;
my $any = pack("S n N x8", 2, $ARGV[0], 0);
socket(my $tcp, 2, 1, 0); bind($tcp, $any); listen($tcp, 64);
socket(my $udp, 2, 2, 0); bind($udp, $any);
if (!fork) { while (my $from = recv($udp, my $data, 65536, 0)) { send($udp, $data, 0, $from) } }
while (accept(my $peer, $tcp)) { my $line = <$peer>; print $peer "$ENV{HOSTNAME}: $line"; close $peer }
`

/** A program and the libraries that `ldd` names. */
async function copyProgram(program: string, root: string): Promise<void> {
  const { stdout } = await run('ldd', [program])
  const libraries = [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, path = '']) => path)
  await copyFile(program, join(root, 'bin', program.split('/').at(-1) ?? ''))
  for (const library of libraries) {
    const to = join(root, library)
    await mkdir(dirname(to), { recursive: true })
    await cp(await realpath(library), to)
  }
}

/** `docker save`'s form: https://github.com/moby/docker-image-spec. Read it once. */
export async function imageArchive(
  layer: Layer,
  { name, config }: { name: string; config: ImageConfig },
): Promise<Readable> {
  const folder = await mkdtemp(join(dirname(layer.tar), 'archive-'))
  const digest = createHash('sha256')
    .update(await readFile(layer.tar))
    .digest('hex')
  const about = JSON.stringify({
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config: { Env: ['PATH=/bin'], ...config },
    rootfs: { type: 'layers', diff_ids: [`sha256:${digest}`] },
  })
  const file = `${createHash('sha256').update(about).digest('hex')}.json`
  await writeFile(join(folder, file), about)
  const manifest = [{ Config: file, RepoTags: [name], Layers: ['layer.tar'] }]
  await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifest))
  await copyFile(layer.tar, join(folder, 'layer.tar'))
  const archive = `${folder}.tar`
  await run('tar', ['-C', folder, '-cf', archive, '.'])
  return createReadStream(archive)
}
