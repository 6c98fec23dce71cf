/** The images of a lease: there, and this lease's to use. */
import type { ContainerInfo } from 'dockerode'
import type { Context } from './context.ts'
import { bareId, imageId, pullImage } from './images.ts'
import type { Credentials, LeaseSpec, PullProgress } from './runtime.ts'

/**
 * Pulls what is missing. Also what is there, where another tenant's credentials brought it: the layers stay, so that
 * costs a question to the registry, which throws Fault `image_unavailable` in the registry's words. What containers of
 * the lease were made from has been shown to be its own.
 */
export async function ensureImages(
  context: Context,
  {
    spec: { lease, manifest },
    current,
    signal,
  }: { spec: LeaseSpec; current: readonly ContainerInfo[]; signal: AbortSignal },
): Promise<void> {
  const { docker, privateImages, tell } = context
  const own = new Set(current.map(({ ImageID }) => bareId(ImageID)))
  const services = new Map(manifest.services.map((service) => [service.image, service]))
  for (const { image, credentials } of services.values()) {
    const id = await imageId(docker, image)
    if (id !== null && (own.has(id) || !(await privateImages.has(id)))) continue
    for await (const progress of pullFor(context, { image, credentials, signal }))
      tell({ type: 'image.progress', lease, progress })
  }
}

/** A pull that is remembered where it took credentials. */
export function pullFor(
  { docker, privateImages }: Context,
  pull: { image: string; credentials: Credentials | null; signal: AbortSignal },
): AsyncGenerator<PullProgress, void, void> {
  const progress = pullImage(docker, pull)
  return pull.credentials === null ? progress : privateImages.during(pull.image, progress)
}
