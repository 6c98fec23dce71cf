/** Which llama.cpp this machine has and could have; installing one is explained first, and never a surprise. */
import { existsSync } from 'node:fs'
import { detectBackends, type Backend } from '../../../io/engine/llama-cpp/backends.ts'
import { installLlamaCpp, llamaCppFolder } from '../../../io/engine/llama-cpp/install.ts'
import { EXIT, Failure } from '../shell/failure.ts'

/** The library and the binaries of a backend on disk, measured on Linux with node-llama-cpp 3.22.1. */
const SIZES: Record<Backend, string> = {
  cpu: 'about 85 MB',
  metal: 'about 85 MB',
  vulkan: 'about 160 MB',
  cuda: 'about 650 MB',
}
const COMPUTES_ON: Record<Backend, string> = {
  cpu: 'the processor',
  metal: "Apple's GPU",
  vulkan: 'any GPU with a Vulkan driver',
  cuda: 'NVIDIA GPUs',
}

export type EngineState = {
  readonly enginesDir: string
  /** Best first; the processor's last. */
  readonly possible: readonly Backend[]
  readonly installed: readonly Backend[]
}

export async function engineState(enginesDir: string): Promise<EngineState> {
  const possible = await detectBackends()
  const installed = possible.filter((one) => existsSync(llamaCppFolder(enginesDir, one)))
  return { enginesDir, possible, installed }
}

/** The engine that a node would load; the processor's when none is there yet. */
export const engineFolder = ({ enginesDir, installed }: EngineState, gpu: boolean): string =>
  llamaCppFolder(enginesDir, (gpu ? installed[0] : undefined) ?? 'cpu')

export const describeBackend = (backend: Backend): string =>
  `${backend} (computes on ${COMPUTES_ON[backend]}, ${SIZES[backend]})`

/** `wanted` true: the best for this machine; a name: that one. Throws Failure for one it cannot use. */
export async function installEngine(
  state: EngineState,
  wanted: string | true,
  say: (line: string) => void,
): Promise<void> {
  const [best] = state.possible
  const backend = wanted === true ? best : state.possible.find((one) => one === wanted)
  if (backend === undefined)
    throw new Failure(
      EXIT.failure,
      wanted === true
        ? `there is no build of llama.cpp for ${process.platform}-${process.arch}`
        : `this machine cannot use the backend '${wanted}'; it could use ${state.possible.join(', ') || 'none'}`,
      { next: 'serve models through another server: --engine openai --upstream <url>' },
    )
  say(`llama.cpp ${describeBackend(backend)}, into ${llamaCppFolder(state.enginesDir, backend)}`)
  const { alreadyThere } = await installLlamaCpp({ enginesDir: state.enginesDir, backend, say })
  say(alreadyThere ? 'it was there already' : 'installed; remove it by removing that folder')
}
