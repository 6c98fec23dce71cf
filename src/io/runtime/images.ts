/** Images: whether they are there, pulled from a registry, or loaded from an archive. */
import type { Readable } from 'node:stream'
import type Docker from 'dockerode'
import { z } from 'zod'
import { Fault } from '../../core/base/refusal.ts'
import { ask, askIfThere } from './engine-socket.ts'
import type { Credentials, PullProgress } from './runtime.ts'

/** The engine's id of the image that has this name here, whatever kind of name it is; null: none has. */
export async function imageId(docker: Docker, image: string): Promise<string | null> {
  const there = await askIfThere(`look for ${image}`, docker.getImage(image).inspect())
  return there === null ? null : bareId(there.Id)
}

/** Docker writes `sha256:` before it; Podman sometimes does. */
export const bareId = (id: string): string => id.replace(/^sha256:/, '')

/** All names and digests of what is present, newest image first. */
export async function listImages(docker: Docker): Promise<string[]> {
  const images = listSchema.parse(await ask('list images', docker.listImages()))
  const newest = images.toSorted((a, b) => b.Created - a.Created)
  const names = newest.flatMap(({ RepoTags, RepoDigests }) => [
    ...(RepoTags ?? []),
    ...(RepoDigests ?? []),
  ])
  return names.filter((name) => !name.includes('<none>'))
}

const listSchema = z.array(
  z.object({
    Created: z.number(),
    RepoTags: z.array(z.string()).nullish(),
    RepoDigests: z.array(z.string()).nullish(),
  }),
)

/** Throws Fault `image_unavailable` with the registry's words. Aborting ends the pull. */
export async function* pullImage(
  docker: Docker,
  {
    image,
    credentials,
    signal,
  }: { image: string; credentials: Credentials | null; signal: AbortSignal },
): AsyncGenerator<PullProgress, void, void> {
  const options = credentials === null ? {} : { authconfig: authOf(credentials) }
  const answer = await docker
    .pull(image, { ...options, abortSignal: signal })
    .catch((thrown: unknown) => {
      throw unavailable(image, thrown instanceof Error ? thrown.message : String(thrown))
    })
  for await (const line of linesOf(answer)) {
    const { error, ...progress } = progressSchema.parse(JSON.parse(line))
    if (error !== undefined) throw unavailable(image, error)
    yield {
      image,
      phase: progress.status,
      layer: progress.id ?? null,
      bytes: progress.progressDetail?.current ?? null,
      totalBytes: progress.progressDetail?.total ?? null,
    }
  }
}

/** The names of the images that an archive held. */
export async function loadImage(docker: Docker, archive: Readable): Promise<string[]> {
  const answer = await ask('load an image archive', docker.loadImage(archive, { quiet: true }))
  const names: string[] = []
  for await (const line of linesOf(answer)) {
    const { stream = '', error } = loadedSchema.parse(JSON.parse(line))
    if (error !== undefined)
      throw new Fault('image_unavailable', `The archive is no image: ${error}`)
    const [, list = ''] = /^Loaded image(?:\(s\))?(?: ID)?: (.+)/.exec(stream.trim()) ?? []
    names.push(...list.split(',').filter((name) => name !== ''))
  }
  return names
}

const progressSchema = z.object({
  status: z.string().default(''),
  id: z.string().optional(),
  error: z.string().optional(),
  progressDetail: z
    .object({ current: z.number().optional(), total: z.number().optional() })
    .nullish(),
})

const loadedSchema = z.object({ stream: z.string().optional(), error: z.string().optional() })

const authOf = ({ host, username, password }: Credentials) => ({
  username,
  password,
  serveraddress: host,
})

const unavailable = (image: string, reason: string): Fault =>
  new Fault(
    'image_unavailable',
    `Image ${image} cannot be had: ${reason.trim()}. Check its name, its tag and the credentials.`,
  )

/** An engine's answer comes as JSON, a value a line; a line may end anywhere in a chunk. */
async function* linesOf(answer: NodeJS.ReadableStream): AsyncGenerator<string, void, void> {
  let rest = ''
  for await (const chunk of answer.setEncoding('utf8')) {
    const lines = (rest + chunk.toString()).split('\n')
    rest = lines.pop() ?? ''
    yield* lines.filter((line) => line.trim() !== '')
  }
  if (rest.trim() !== '') yield rest
}
