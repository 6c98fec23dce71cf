/** Where container engines listen. Knows no engine's library, so that a machine without one does not load it. */
import { existsSync } from 'node:fs'

/** Those that exist: what DOCKER_HOST says, or the usual places. */
export function usualSockets(env: NodeJS.ProcessEnv): string[] {
  const host = env['DOCKER_HOST']
  if (host?.startsWith('unix://')) return existing([host.slice('unix://'.length)])
  const own = env['XDG_RUNTIME_DIR']
  return existing([
    '/var/run/docker.sock',
    '/run/podman/podman.sock',
    ...(own === undefined ? [] : [`${own}/docker.sock`, `${own}/podman/podman.sock`]),
  ])
}

const existing = (sockets: readonly string[]): string[] =>
  sockets.filter((socket) => existsSync(socket))
