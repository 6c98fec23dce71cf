/** The engine's REST socket: dockerode, with failures that say what was attempted. */
import { Agent } from 'node:http'
import Docker from 'dockerode'
import { z } from 'zod'
import { Fault, reasonOf } from '../../core/base/refusal.ts'

/**
 * A connection for each request. Docker that shuts down refuses new connections, but serves old ones until its
 * containers have ended: a container started by such a late request can never be removed, since the next daemon does
 * not see all of its mounts.
 */
const agent = new Agent({ keepAlive: false })

/** `socketPath` is a path; a leading `unix://` is taken off. */
export function openSocket(socketPath: string, timeoutMs?: number): Docker {
  const path = socketPath.replace(/^unix:\/\//, '')
  // A variable, since dockerode's types do not know `agent`, which its modem takes.
  const options = {
    socketPath: path,
    agent,
    ...(timeoutMs !== undefined && { timeout: timeoutMs }),
  }
  return new Docker(options)
}

const answered = z.object({
  statusCode: z.number(),
  json: z.object({ message: z.string() }).optional().catch(undefined),
})

export const statusOf = (thrown: unknown): number | null =>
  answered.safeParse(thrown).data?.statusCode ?? null

/** Awaits an answer; `what` completes "could not …". */
export async function ask<T>(what: string, answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (thrown) {
    throw faultOf(what, thrown)
  }
}

export function faultOf(what: string, thrown: unknown): Fault {
  if (thrown instanceof Fault) return thrown
  const said = answered.safeParse(thrown).data
  const message = `The container engine could not ${what}: ${said?.json?.message ?? reasonOf(thrown)}`
  if (said === undefined)
    return new Fault('engine_unreachable', message, { cause: thrown, retryable: true })
  return new Fault(said.statusCode === 404 ? 'not_found' : 'engine_failed', message, {
    cause: thrown,
  })
}

/** Like `ask`, but null for what is not there. */
export async function askIfThere<T>(what: string, answer: Promise<T>): Promise<T | null> {
  try {
    return await answer
  } catch (thrown) {
    if (statusOf(thrown) === 404) return null
    throw faultOf(what, thrown)
  }
}

/** For what may be done or gone already: 304 not modified, 404 not found, 409 already so. */
export async function askLeniently(what: string, answer: Promise<unknown>): Promise<void> {
  try {
    await answer
  } catch (thrown) {
    const status = statusOf(thrown)
    if (status !== 304 && status !== 404 && status !== 409) throw faultOf(what, thrown)
  }
}

/** Podman's own API, at the same socket. */
export function askLibpod(
  docker: Docker,
  { method, path, body }: { method: 'GET' | 'POST'; path: string; body?: object },
): Promise<unknown> {
  const good = { 200: true, 201: true, 204: true, 409: true }
  return new Promise((resolve, reject) => {
    docker.modem.dial(
      { path: `/v4.0.0/libpod${path}`, method, options: body ?? {}, statusCodes: good },
      (error: unknown, data: unknown) => (error ? reject(asError(error)) : resolve(data)),
    )
  })
}

const asError = (thrown: unknown): Error =>
  thrown instanceof Error ? thrown : new Error(reasonOf(thrown))
