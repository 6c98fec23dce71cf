/** What is compared: the upstream mock itself, and HAProxy and Portkey in front of it. `baseload.ts` has the fourth. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Cores } from './machine.ts'
import { answers, freePort, start, until, type Started } from './processes.ts'
import type { Tools } from './tools.ts'

export type Target = {
  readonly name: 'direct' | 'haproxy' | 'portkey' | 'baseload'
  readonly process: Started
  readonly port: number
  /** Request headers that this one needs. */
  readonly headers: readonly string[]
}

export type Setting = Place & { readonly tools: Tools }

/** Where programs run and keep their files. */
export type Place = {
  readonly cores: Cores
  /** For configuration and state; removed at the end. */
  readonly folder: string
  /** Where Baseload's gateways write CPU profiles when they end; null: they run unprofiled. */
  readonly profileFolder: string | null
}

export async function startUpstream({ cores, tools }: Setting): Promise<Target> {
  const port = await freePort()
  const process = start(cores.load, tools.upstream, [String(port)])
  await until('upstream mock', process, () => answers(port))
  return { name: 'direct', process, port, headers: [] }
}

/** One thread, keep-alive to the upstream, and no delay of small writes: as fast as it goes. */
export async function startHaproxy(
  { cores, tools, folder }: Setting,
  upstream: Target,
): Promise<Target> {
  const port = await freePort()
  const config = join(folder, 'haproxy.cfg')
  writeFileSync(
    config,
    `global
  nbthread 1
  maxconn 6000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-no-delay
  http-reuse always
frontend tenants
  bind 127.0.0.1:${port}
  default_backend upstream
backend upstream
  server mock 127.0.0.1:${upstream.port} pool-max-conn 4096
`,
  )
  const process = start(cores.gateway, tools.haproxy, ['-f', config, '-db'])
  await until('HAProxy', process, () => answers(port))
  return { name: 'haproxy', process, port, headers: [] }
}

export async function startPortkey({ cores, tools }: Setting, upstream: Target): Promise<Target> {
  const port = await freePort()
  const args = [tools.portkey, '--headless', `--port=${port}`]
  const portkey = start(cores.gateway, process.execPath, args, { NODE_ENV: 'production' })
  await until('Portkey', portkey, () => answers(port))
  const headers = [
    'Authorization: Bearer sk-bench-0123456789abcdef0123456789abcdef',
    'x-portkey-provider: openai',
    `x-portkey-custom-host: http://127.0.0.1:${upstream.port}/v1`,
  ]
  return { name: 'portkey', process: portkey, port, headers }
}
