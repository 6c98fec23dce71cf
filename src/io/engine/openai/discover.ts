/**
 * Servers that already run on this machine, on their usual ports: shown to the provider, who may then choose
 * one with `--upstream`. Never taken without being asked for.
 */
import { Fault } from '../../../core/base/refusal.ts'
import { identifySoftware, listModels, softwareText } from './software.ts'
import { connectUpstream, within } from './upstream.ts'

export type RunningServer = {
  /** What `--upstream` takes. */
  readonly upstream: string
  /** `ollama/0.12.0` */
  readonly software: string
  readonly models: readonly string[]
  /** It answers, but only to those who have its key; its models are unknown then. */
  readonly needsKey: boolean
}

/** vLLM, SGLang, Ollama, llama-server, LM Studio. */
export const USUAL_PORTS = [8000, 30000, 11434, 8080, 1234] as const

/** A server on loopback answers in a millisecond; what does not within this is something else. */
const LOOK_MS = 500

/** In the order of the ports. Never throws but for the signal: where nothing answers, nothing is. */
export async function findRunningServers(
  signal: AbortSignal,
  ports: readonly number[] = USUAL_PORTS,
): Promise<RunningServer[]> {
  const found = await Promise.all(ports.map((port) => lookAt(port, signal)))
  return found.filter((server) => server !== null)
}

async function lookAt(port: number, signal: AbortSignal): Promise<RunningServer | null> {
  const address = `http://127.0.0.1:${port}/v1`
  const upstream = connectUpstream({ upstream: address, apiKey: null })
  try {
    return await within(LOOK_MS, signal, async (bounded) => {
      const listed = await listModels(upstream, bounded)
      const software = softwareText(await identifySoftware(upstream, listed, bounded))
      const models = listed.models.map((model) => model.id)
      return { upstream: address, software, models, needsKey: false }
    })
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof Fault)) throw error
    const needsKey = error.code === 'upstream_key_rejected'
    return needsKey
      ? { upstream: address, software: 'openai-compatible', models: [], needsKey }
      : null
  } finally {
    upstream.close()
  }
}
