/** Where a model file comes from: a path, a web address, or `hf:org/repo/file.gguf`. */
import { createHash } from 'node:crypto'
import { isIP } from 'node:net'
import { basename, resolve } from 'node:path'
import { Fault } from '../../../core/base/refusal.ts'
import { isLoopback } from './reachable.ts'

export type ModelSource =
  | { readonly kind: 'path'; readonly path: string }
  | {
      readonly kind: 'web'
      readonly url: URL
      /** Sent to the source's own origin and to nobody else; never shown. */
      readonly token: string | null
      /** Below the models' folder: the same address always has the same place. */
      readonly place: string
    }

/** Reads HF_ENDPOINT (a mirror) and HF_TOKEN (for gated models). */
export type SourceEnv = Readonly<Record<string, string | undefined>>

/** Throws a Fault that says what a source looks like. */
export function parseModelSource(text: string, env: SourceEnv): ModelSource {
  const source = read(text.trim(), env)
  const name = source.kind === 'path' ? source.path : source.url.pathname
  if (!/\.gguf$/i.test(name))
    throw wrong(text, 'is no .gguf file; other formats are served through --engine openai')
  if (/-\d{5}-of-\d{5}\.gguf$/i.test(name))
    throw wrong(text, 'is one part of several; join them first: llama-gguf-split --merge')
  return source
}

/** An address without its query, which may carry a signature. */
export const shown = (url: URL): string => url.origin + url.pathname

function read(text: string, env: SourceEnv): ModelSource {
  if (text.startsWith('hf:')) return readHuggingFace(text, env)
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return { kind: 'path', path: resolve(text) }
  const url = URL.canParse(text) ? new URL(text) : null
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:'))
    throw wrong(text, 'is no https address')
  if (url.username !== '' || url.password !== '')
    throw wrong(url.host, 'must come without a password in the address')
  if (url.protocol === 'http:' && !isLoopback(url.hostname))
    throw wrong(text, 'needs https: over plain http anyone on the way could change the file')
  return { kind: 'web', url, token: null, place: placeOf(url) }
}

function readHuggingFace(text: string, env: SourceEnv): ModelSource {
  const match = /^hf:([\w.-]+\/[\w.-]+)\/([\w./+ -]+)$/.exec(text)
  if (!match || text.split(/[:/]/).some((part) => part === '..' || part === '.' || part === ''))
    throw wrong(text, 'is not of the form hf:org/repo/file.gguf')
  const [, repo = '', file = ''] = match
  const endpoint = env['HF_ENDPOINT']?.replace(/\/+$/, '') || 'https://huggingface.co'
  const address = read(`${endpoint}/${repo}/resolve/main/${encodeURI(file)}`, env)
  if (address.kind !== 'web') throw wrong(endpoint, 'is no address; correct HF_ENDPOINT')
  return { ...address, token: env['HF_TOKEN'] || null }
}

function placeOf(url: URL): string {
  const host = isIP(url.hostname) ? url.host : url.hostname
  const digest = createHash('sha256').update(url.href).digest('hex').slice(0, 8)
  return `${safe(host)}-${digest}/${safe(decodeURIComponent(basename(url.pathname))).slice(-200)}`
}

const safe = (name: string): string => name.replace(/[^\w.+-]/g, '_').replace(/^\.+/, '_')

const wrong = (text: string, why: string): Fault =>
  new Fault(
    'model_source',
    `${text.slice(0, 200)} ${why}. A model is a path to a .gguf file, an https address of one, or hf:org/repo/file.gguf.`,
  )
