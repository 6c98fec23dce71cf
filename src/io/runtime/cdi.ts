/**
 * The Container Device Interface for engines that have none: turns the specs that GPU drivers install into plain
 * environment, mounts and devices. https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse as parseYaml } from 'yaml'
import { z } from 'zod'
import { Fault } from '../../core/base/refusal.ts'

/** What a GPU adds to a container. */
export type DeviceEdits = {
  readonly env: readonly string[]
  readonly mounts: readonly {
    readonly hostPath: string
    readonly containerPath: string
    readonly readOnly: boolean
  }[]
  readonly devices: readonly {
    readonly hostPath: string
    readonly containerPath: string
    /** Of `r`, `w` and `m`. */
    readonly permissions: string
  }[]
}

const list = <T extends z.ZodType>(item: T) =>
  z
    .array(item)
    .nullish()
    .transform((items) => items ?? [])

const editsSchema = z
  .object({
    env: list(z.string()),
    deviceNodes: list(
      z.object({
        path: z.string(),
        hostPath: z.string().optional(),
        permissions: z.string().optional(),
      }),
    ),
    mounts: list(
      z.object({ hostPath: z.string(), containerPath: z.string(), options: list(z.string()) }),
    ),
    hooks: list(z.object({ args: list(z.string()) })),
  })
  .nullish()
  .transform((edits) => edits ?? { env: [], deviceNodes: [], mounts: [], hooks: [] })

const specSchema = z.object({
  cdiVersion: z.string(),
  kind: z.string(),
  containerEdits: editsSchema,
  devices: list(z.object({ name: z.string(), containerEdits: editsSchema })),
})
export type CdiSpec = z.infer<typeof specSchema>

/** Where drivers put their specs; later folders win. */
export const CDI_FOLDERS = ['/etc/cdi', '/var/run/cdi']

/** All specs of this machine; files that are none are passed over, since one broken driver should not hide another. */
export async function readCdiSpecs(folders: readonly string[]): Promise<CdiSpec[]> {
  const perFolder = await Promise.all(
    folders.map(async (folder) => {
      const names = await readdir(folder).catch(() => [])
      const files = names.filter((name) => /\.(json|ya?ml)$/.test(name)).toSorted()
      return await Promise.all(files.map((name) => readSpec(join(folder, name))))
    }),
  )
  return perFolder.flat().filter((spec) => spec !== null)
}

async function readSpec(path: string): Promise<CdiSpec | null> {
  try {
    // JSON is YAML.
    return specSchema.parse(parseYaml(await readFile(path, 'utf8')))
  } catch {
    return null
  }
}

/** `nvidia.com/gpu=0`, … for all devices of all specs. */
export const cdiNames = (specs: readonly CdiSpec[]): string[] => [
  ...new Set(specs.flatMap(({ kind, devices }) => devices.map(({ name }) => `${kind}=${name}`))),
]

/** Throws Fault `gpu_unknown` for a name that no spec has. */
export function resolveCdi(names: readonly string[], specs: readonly CdiSpec[]): DeviceEdits {
  const found = names.map((name) => {
    const spec = specs.findLast((one) => cdiNames([one]).includes(name))
    const device = spec?.devices.find((one) => `${spec.kind}=${one.name}` === name)
    if (spec === undefined || device === undefined)
      throw new Fault(
        'gpu_unknown',
        `No CDI spec of this machine has ${name}; it has: ${cdiNames(specs).join(', ') || 'none'}. Make them anew, as in \`nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml\`.`,
      )
    return { spec, device }
  })
  // What all devices of a kind share is added once.
  const shared = [...new Set(found.map(({ spec }) => spec))].map((spec) => spec.containerEdits)
  const all = [...shared, ...found.map(({ device }) => device.containerEdits)]
  const edits = merge(all)
  return all.some(({ hooks }) => hooks.some(({ args }) => args.includes('update-ldcache')))
    ? { ...edits, mounts: withSonames(edits.mounts) }
    : edits
}

type Edits = CdiSpec['containerEdits']

function merge(all: readonly Edits[]): DeviceEdits {
  const mounts = all.flatMap((edits) => edits.mounts)
  const nodes = all.flatMap((edits) => edits.deviceNodes)
  return {
    env: [...new Set(all.flatMap((edits) => edits.env))],
    mounts: uniqueBy(mounts, 'containerPath').map(({ hostPath, containerPath, options }) => ({
      hostPath,
      containerPath,
      readOnly: options.includes('ro'),
    })),
    devices: uniqueBy(nodes, 'path').map(({ path, hostPath, permissions }) => ({
      hostPath: hostPath ?? path,
      containerPath: path,
      permissions: permissions ?? 'rw',
    })),
  }
}

function uniqueBy<K extends string, T extends Record<K, unknown>>(
  items: readonly T[],
  key: K,
): T[] {
  return [...new Map(items.map((item) => [item[key], item])).values()]
}

/**
 * An engine of its own CDI would run a hook that links each driver library under the name by which programs look for
 * it: `libcuda.so.550.54.15` as `libcuda.so.1`. The engine's API takes no hooks; a second mount does the same.
 */
function withSonames(mounts: DeviceEdits['mounts']): DeviceEdits['mounts'] {
  const links = mounts.flatMap((mount) => {
    const [, library] = /^(.+\.so)\.\d+\.\d+(?:\.\d+)?$/.exec(mount.containerPath) ?? []
    return library === undefined ? [] : [{ ...mount, containerPath: `${library}.1` }]
  })
  return uniqueBy([...links, ...mounts], 'containerPath')
}
