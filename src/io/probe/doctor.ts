/** The self-test before a node joins: every check that applies, each result as soon as it is there. */
import { stat } from 'node:fs/promises'
import type { CheckResult } from './check-result.ts'
import { checkEngine } from './engine-check.ts'
import { checkClock, checkNetwork } from './gateway-checks.ts'
import { lookAtGateway } from './gateway-look.ts'
import { checkDisk, checkHomePermissions } from './home-checks.ts'
import { checkMemory, checkNodeVersion, checkProcessor } from './machine-checks.ts'
import { checkModelFile } from './model-check.ts'
import { checkUpstream } from './upstream-check.ts'

export type DoctorOptions = {
  /** Null: not known yet, so network and clock are not judged. */
  readonly gatewayUrl: string | null
  readonly home: string
  /** Where llama.cpp is installed; null: this node does not use it. */
  readonly engineFolder: string | null
  readonly modelPaths: readonly string[]
  /** What `--upstream` says; null: this node does not use one. */
  readonly upstream: string | null
  readonly upstreamKey?: string | null
  readonly signal: AbortSignal
}

/** Ends after the last check; throws only when aborted, or for a gateway address that is none. */
export async function* runDoctor(options: DoctorOptions): AsyncGenerator<CheckResult, void, void> {
  const { gatewayUrl, home, engineFolder, modelPaths, upstream, signal } = options
  yield checkNodeVersion()
  yield checkProcessor()
  yield checkMemory(await totalBytes(modelPaths))
  yield await checkDisk(home)
  yield await checkHomePermissions(home)
  if (gatewayUrl !== null) {
    const look = await lookAtGateway(gatewayUrl, signal)
    yield checkNetwork(look)
    yield checkClock(look)
  }
  if (engineFolder !== null) yield await checkEngine(engineFolder, signal)
  for (const path of modelPaths) yield await checkModelFile(path)
  if (upstream !== null) yield await checkUpstream(upstream, options.upstreamKey ?? null, signal)
}

/** Missing files count nothing here: their own check names them. */
async function totalBytes(paths: readonly string[]): Promise<number> {
  const sizes = await Promise.all(
    paths.map((path) =>
      stat(path).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  )
  return sizes.reduce((sum, size) => sum + size, 0)
}
