/** Which server is at the other end, and the models it lists. Nothing here decides what a model can do. */
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import { isRecord, type Fields } from '../../../core/protocol/read-fields.ts'
import { upstreamError } from './upstream-error.ts'
import { within, type JsonAnswer, type Upstream } from './upstream.ts'

export type SoftwareName =
  | 'baseload'
  | 'ollama'
  | 'llama.cpp'
  | 'lm-studio'
  | 'sglang'
  | 'vllm'
  | 'openai-compatible'

export type Software = { readonly name: SoftwareName; readonly version: string | null }

/** `vllm/0.9.1`, or the name alone. */
export const softwareText = ({ name, version }: Software): string =>
  version === null ? name : `${name}/${version}`

export type ListedModel = { readonly id: string; readonly fields: Fields }

/** The upstream's own list. Throws a Fault when there is none, with the upstream's reason. */
export async function listModels(
  upstream: Upstream,
  signal: AbortSignal,
): Promise<{ models: ListedModel[]; headers: JsonAnswer['headers'] }> {
  const { status, headers, body } = await upstream.json('/models', { signal })
  if (status !== 200) throw upstreamError(status, body, true)
  const list = isRecord(body) ? body['data'] : undefined
  if (!Array.isArray(list))
    throw new Fault('upstream_address', `${upstream.name}/models is not a list of models`)
  const models = list.flatMap((fields: unknown) =>
    isRecord(fields) && typeof fields['id'] === 'string' ? [{ id: fields['id'], fields }] : [],
  )
  return { models, headers }
}

/** A server's own route answers from memory; one that is slow is not worth waiting for. */
const OWN_ROUTE_MS = 3_000

/** By what only that server has. Unknown ones are 'openai-compatible', which is no fault. */
export async function identifySoftware(
  upstream: Upstream,
  listed: { models: readonly ListedModel[]; headers: JsonAnswer['headers'] },
  signal: AbortSignal,
): Promise<Software> {
  const owners = new Set(listed.models.map((model) => model.fields['owned_by']))
  const server = String(listed.headers['server'] ?? '')
  const [network, ollama, props, info, version, studio] = await Promise.all(
    ['/v1/network', '/api/version', '/props', '/get_server_info', '/version', '/api/v0/models'].map(
      (path) => fieldsAt(upstream, path, signal),
    ),
  )
  if (network?.['object'] === 'network' && typeof network['gateway'] === 'string')
    return { name: 'baseload', version: short(network['version']) }
  if (ollama) return { name: 'ollama', version: short(ollama['version']) }
  if (server.startsWith('llama.cpp') || owners.has('llamacpp'))
    return { name: 'llama.cpp', version: short(props?.['build_info']) }
  if (owners.has('sglang') || info)
    return { name: 'sglang', version: short(info?.['version'] ?? version?.['version']) }
  if (owners.has('vllm') || version) return { name: 'vllm', version: short(version?.['version']) }
  if (Array.isArray(studio?.['data'])) return { name: 'lm-studio', version: null }
  return { name: 'openai-compatible', version: null }
}

/** A JSON object at one of the server's own routes, or null: most routes do not exist on most servers. */
export async function fieldsAt(
  upstream: Upstream,
  path: string,
  signal: AbortSignal,
): Promise<Fields | null> {
  try {
    const { status, body } = await within(OWN_ROUTE_MS, signal, (bounded) =>
      upstream.rootJson(path, { signal: bounded }),
    )
    return status === 200 && isRecord(body) && body['error'] == null ? body : null
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof Fault) return null
    throw new Error(`at ${path}: ${reasonOf(error)}`, { cause: error })
  }
}

const short = (value: unknown): string | null =>
  typeof value === 'string' && /^[\w.+~-]{1,60}$/.test(value) ? value : null
