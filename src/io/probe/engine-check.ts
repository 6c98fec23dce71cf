/** Whether the llama.cpp engine loads. Tried in a child process: a library built for another processor kills its own. */
import { spawn } from 'node:child_process'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { fail, ok, type CheckResult } from './check-result.ts'

const CHECK = 'engine'
/** Backends for GPUs look at the hardware first. */
const LOAD_MS = 60_000

/** `folder`: where the engine was installed, with its own node_modules. */
export async function checkEngine(folder: string, signal: AbortSignal): Promise<CheckResult> {
  const library = join(folder, 'node_modules', 'node-llama-cpp', 'dist', 'index.js')
  const there = await access(library).then(
    () => true,
    () => false,
  )
  const install = 'install it: baseload doctor --install'
  if (!there)
    return fail(CHECK, {
      found: `no llama.cpp in ${folder}`,
      cause: 'the engine is installed apart from Baseload, on first use or by hand',
      fix: `${install}, or serve through another server with --engine openai`,
      details: { folder },
    })
  const end = await load(library, signal)
  if (end.code === 0)
    return ok(CHECK, `llama.cpp loads${end.text === 'false' ? '' : `, on ${end.text}`}`, {
      folder,
      gpu: end.text === 'false' ? null : end.text,
    })
  return fail(CHECK, {
    found: `llama.cpp in ${folder} does not load`,
    cause: whyNot(end),
    fix: `remove ${folder} and ${install}`,
    details: { folder, code: end.code, signal: end.signal },
  })
}

type End = {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** What it printed last: the GPU backend, or the error. */
  readonly text: string
}

function load(library: string, signal: AbortSignal): Promise<End> {
  // On standard input, not by --eval: the library starts children of its own with this process's flags.
  const script = `import(${JSON.stringify(pathToFileURL(library).href)}).then(async ({ getLlama }) => {
    const llama = await getLlama({ build: 'never', skipDownload: true, logLevel: 'error' })
    process.stdout.write(String(llama.gpu), () => process.exit(0))
  })`
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['-'], {
      stdio: ['pipe', 'pipe', 'pipe'],
      signal: AbortSignal.any([signal, AbortSignal.timeout(LOAD_MS)]),
      killSignal: 'SIGKILL',
    })
    // A child that could not start has no input either; 'close' tells why.
    child.stdin.on('error', () => {}).end(script)
    let text = ''
    const keep = (part: Buffer) => (text = (text + part.toString()).slice(-8000))
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.once('error', (error) => (text += error.message))
    child.once('close', (code, killedBy) => resolve({ code, signal: killedBy, text: text.trim() }))
  })
}

function whyNot({ signal, text }: End): string {
  if (signal === 'SIGILL') return 'it uses instructions that this processor does not have'
  if (signal === 'SIGKILL') return `it was killed, or did not load within ${LOAD_MS / 1000} s`
  if (signal !== null) return `it crashed with ${signal}`
  const error = text.split('\n').find((line) => /error/i.test(line)) ?? text
  return error.trim().slice(0, 300) || 'it ended without a word'
}
