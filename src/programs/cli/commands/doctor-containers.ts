/** Whether this machine can lease out containers: each engine that listens here, and what stands in its way. */
import { ok, warn, type CheckResult } from '../../../io/probe/check-result.ts'
import type { Detection } from '../../../io/runtime/detect.ts'
import { usualSockets } from '../../../io/runtime/usual-sockets.ts'

/** `socket` null: the usual places. Problems are warnings: a node serves models without any engine. */
export async function lookAtContainers(
  socket: string | null,
  env: NodeJS.ProcessEnv,
): Promise<CheckResult[]> {
  const sockets = socket === null ? usualSockets(env) : [socket]
  if (sockets.length === 0) return containerResults([])
  const { detectEngine } = await import('../../../io/runtime/detect.ts')
  return containerResults(await Promise.all(sockets.map(detectEngine)))
}

export function containerResults(detections: readonly Detection[]): CheckResult[] {
  if (detections.length === 0)
    return [
      warn('containers', {
        found: 'neither Docker nor Podman is running here',
        cause: 'without one this node serves models, but leases out no containers',
        fix: 'apt install docker.io, or start the engine that you have',
      }),
    ]
  return detections.map(resultOf)
}

function resultOf(detection: Detection): CheckResult {
  const { socket } = detection
  if (!detection.usable)
    return warn('containers', {
      found: `the engine at ${socket} cannot be used for leases`,
      cause: detection.problem,
      fix: detection.fix,
      details: { socket },
    })
  const { engine, version, cgroupVersion, storageDriver, isolation, userNamespaces } =
    detection.facts
  const apart = isolation === 'runsc' ? 'gVisor (runsc)' : 'namespaces (runc)'
  const found = `${engine} ${version} at ${socket}: ${apart}, ${storageDriver}, cgroup v${cgroupVersion}`
  const details = {
    socket,
    engine,
    version,
    isolation,
    storageDriver,
    cgroupVersion,
    userNamespaces,
  }
  return ok('containers', found, details)
}
