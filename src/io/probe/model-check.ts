/** One model file: there, whole, and fit to be served. */
import { Fault, reasonOf } from '../../core/base/refusal.ts'
import { readGgufHeader, type GgufHeader } from './gguf-header.ts'
import { fail, gib, ok, warn, type CheckResult } from './check-result.ts'

const CHECK = 'model file'

export async function checkModelFile(path: string): Promise<CheckResult> {
  let header: GgufHeader
  try {
    header = await readGgufHeader(path)
  } catch (error) {
    return unreadable(path, error)
  }
  const { architecture, parameters, quantization, contextTokens, fileBytes, neededBytes } = header
  const found =
    `${path}: ${architecture}, ${shortCount(parameters)} parameters, ${quantization ?? 'unknown type'}, ` +
    `${contextTokens ?? 'unknown'} tokens of context, ${gib(fileBytes)}`
  const { hasChatTemplate, name } = header
  const numbers = { parameters, quantization, contextTokens, fileBytes, neededBytes }
  const details = { path, name, architecture, hasChatTemplate, ...numbers }
  if (fileBytes < neededBytes)
    return fail(CHECK, {
      found: `${path} is cut short: ${fileBytes} of ${neededBytes} bytes`,
      cause: 'its download did not finish, or its copy filled a disk',
      fix: 'get it again; --model with its https or hf: address goes on by itself and checks the hash',
      details,
    })
  if (!hasChatTemplate)
    return warn(CHECK, {
      found,
      cause: 'it has no chat template: a base model, or an old conversion',
      fix: 'serve it for completions only, or get an instruct version for chat',
      details,
    })
  return ok(CHECK, found, details)
}

function unreadable(path: string, error: unknown): CheckResult {
  const code = error instanceof Error && 'code' in error ? error.code : null
  const details = { path, code: typeof code === 'string' ? code : null }
  if (code === 'ENOENT')
    return fail(CHECK, {
      found: `${path} is not there`,
      cause: 'the path is wrong, or the file was moved',
      fix: 'give --model the right path, an https address, or hf:org/repo/file.gguf',
      details,
    })
  if (error instanceof Fault)
    return fail(CHECK, {
      found: `${path} is not a whole GGUF file`,
      cause: error.message,
      fix: 'get it again, or convert it with llama.cpp to GGUF version 3',
      details,
    })
  return fail(CHECK, {
    found: `${path} cannot be read`,
    cause: reasonOf(error),
    fix: 'let the account of this node read it',
    details,
  })
}

/** 2755008 → `2.8 M` */
function shortCount(count: number): string {
  if (count >= 1e9) return `${(count / 1e9).toFixed(1)} B`
  return count >= 1e6 ? `${(count / 1e6).toFixed(1)} M` : `${(count / 1e3).toFixed(1)} K`
}
