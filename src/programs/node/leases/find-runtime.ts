/** Finds the container engine that leases run on. Its library is loaded only where there is one: it costs 0.2 s. */
import { z } from 'zod'
import { reasonOf } from '../../../core/base/refusal.ts'
import type { Detection, EngineFacts } from '../../../io/runtime/detect.ts'
import type { Runtime, RuntimeEvent } from '../../../io/runtime/runtime.ts'
import { usualSockets } from '../../../io/runtime/usual-sockets.ts'

export type FoundRuntime = {
  readonly facts: EngineFacts
  /** Its file system is what images, containers and volumes fill. */
  readonly dataFolder: string
  /** Where specs of GPUs lie that its containers can have; null: it has a CDI of its own, turned off. */
  readonly cdiFolders: readonly string[] | null
  open(options: {
    /** A node's id: agents on one machine do not touch each other's leases. */
    readonly agent: string
    readonly folder: string
    readonly onEvent: (event: RuntimeEvent) => void
  }): Promise<Runtime>
}

/** The first engine that can be sold; or in words why there is none. Never rejects. */
export async function findRuntime(
  socket: string | null,
  env: NodeJS.ProcessEnv,
): Promise<FoundRuntime | string> {
  const sockets = socket === null ? usualSockets(env) : [socket]
  if (sockets.length === 0) return 'neither Docker nor Podman is running here'
  try {
    const { detectEngine } = await import('../../../io/runtime/detect.ts')
    const answers = await Promise.all(sockets.map(detectEngine))
    const usable = answers.flatMap((one) => (one.usable ? [one.facts] : []))[0]
    return usable === undefined ? problemOf(answers) : await runtimeAt(usable)
  } catch (error) {
    return reasonOf(error)
  }
}

const problemOf = (answers: readonly Detection[]): string =>
  answers
    .flatMap((one) => (one.usable ? [] : [`${one.socket}: ${one.problem}; ${one.fix}`]))
    .join(' · ')

/** Podman names its storage like Docker. */
const infoSchema = z.object({
  DockerRootDir: z.string().min(1),
  /** Docker's since 25; empty where CDI is off. */
  CDISpecDirs: z.array(z.string()).nullish(),
})

async function runtimeAt(facts: EngineFacts): Promise<FoundRuntime> {
  const [{ openRuntime }, { ask, openSocket }, { CDI_FOLDERS }] = await Promise.all([
    import('../../../io/runtime/container-runtime.ts'),
    import('../../../io/runtime/engine-socket.ts'),
    import('../../../io/runtime/cdi.ts'),
  ])
  const info = infoSchema.parse(
    await ask('say where it keeps its data', openSocket(facts.socket).info()),
  )
  const own = info.CDISpecDirs ?? []
  return {
    facts,
    dataFolder: info.DockerRootDir,
    cdiFolders: facts.quirks.noCdi ? CDI_FOLDERS : own.length > 0 ? own : null,
    open: ({ agent, folder, onEvent }) => openRuntime({ facts, agent, folder, onEvent }),
  }
}
