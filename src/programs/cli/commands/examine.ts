/** Looks at this machine, and says what it finds; what `doctor` prints and `join` insists on. */
import { join } from 'node:path'
import { parseModelSource } from '../../../io/engine/model-file/model-source.ts'
import { findRunningServers } from '../../../io/engine/openai/discover.ts'
import type { CheckResult } from '../../../io/probe/check-result.ts'
import { runDoctor } from '../../../io/probe/doctor.ts'
import { detectHardware } from '../../../io/probe/hardware.ts'
import { CDI_FOLDERS } from '../../../io/runtime/cdi.ts'
import type { NodeConfig } from '../../node/config.ts'
import { vendorsInUse } from '../../node/engines.ts'
import { findRuntime } from '../../node/leases/find-runtime.ts'
import { findHostGpus } from '../../node/leases/host-gpus.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import type { Flags, Shell } from './command.ts'
import { lookAtContainers } from './doctor-containers.ts'
import { lookAtPricing } from './doctor-pricing.ts'
import { engineText, findingText, gpuResults, hardwareText, serverText } from './doctor-report.ts'
import { describeBackend, engineFolder, engineState, installEngine } from './engine-install.ts'

/** Installs what `--install` asks for, then prints everything. Throws Failure when a check failed. */
export async function examine(config: NodeConfig, flags: Flags, shell: Shell): Promise<void> {
  const { terminal, stops } = shell
  const json = flags['json'] === true
  const show = (text: string): void => (json ? undefined : void terminal.out(text))
  const { install } = flags
  if (typeof install === 'string' || install === true)
    await installEngine(await engineState(enginesOf(config)), install, (line) =>
      terminal.err(`  · ${line}\n`),
    )

  const hardware = await detectHardware()
  show(`This machine\n${hardwareText(hardware)}\nChecks\n`)
  const checks = await check(config, shell, (result) => show(findingText(result)))
  const containers = await lookAtContainers(config.runtimeSocket, shell.env)
  show(`\nContainers for leases\n${containers.map(findingText).join('')}`)
  const gpus = await lookAtGpus(config, shell)
  if (gpus.length > 0) show(`\nGPUs for containers\n${gpus.map(findingText).join('')}`)
  const pricing = await lookAtPricing(config.pricingProgram, shell.env)
  if (pricing.length > 0) show(`\nPrices of leases\n${pricing.map(findingText).join('')}`)
  const engine = await engineState(enginesOf(config))
  show(`\nllama.cpp for this machine (✓ installed)\n${engineText(engine)}`)
  const servers = await findRunningServers(stops.stop)
  const gateway = config.gateways[0] ?? '<gateway>'
  if (servers.length > 0)
    show(
      `\nServers that run here, and could be sold\n${servers.map((one) => serverText(one, gateway)).join('')}`,
    )
  if (json)
    await terminal.out(
      `${JSON.stringify({ hardware, checks, containers, gpus, pricing, engine, servers })}\n`,
    )
  throwIfFailed([...checks, ...pricing], 'mend the above, and run `baseload doctor` again')
}

/** Judged for the container engine of this machine; without one, for any that has no CDI of its own. */
async function lookAtGpus(config: NodeConfig, shell: Shell): Promise<CheckResult[]> {
  const found = await findRuntime(config.runtimeSocket, shell.env)
  const cdiFolders = typeof found === 'string' ? CDI_FOLDERS : found.cdiFolders
  return gpuResults(
    await findHostGpus({ cdiFolders, share: config.leaseShare, engineUses: vendorsInUse(config) }),
  )
}

/** What `join` does first: the checks, after the engine they need is there. */
export async function doctorFirst(config: NodeConfig, shell: Shell): Promise<void> {
  const { terminal } = shell
  const engine = await engineState(enginesOf(config))
  const say = (line: string) => terminal.err(`  · ${line}\n`)
  // Without any engine there is nothing to check; a GPU's is offered, and installed only when asked for.
  if (config.engine === 'llama.cpp' && engine.installed.length === 0) {
    await installEngine(engine, 'cpu', say)
    const [best = 'cpu'] = engine.possible
    if (best !== 'cpu') say(`for ${describeBackend(best)}: baseload doctor --install ${best}`)
  }
  const checks = await check(config, shell, (result) => terminal.err(findingText(result)))
  throwIfFailed(checks, 'mend the above, or join anyway with --skip-doctor')
}

async function check(
  config: NodeConfig,
  shell: Shell,
  tell: (result: CheckResult) => void,
): Promise<CheckResult[]> {
  const { gateways, home, upstream, upstreamKeyEnv, models, gpu } = config
  const engine = await engineState(enginesOf(config))
  const sources = models.flatMap(({ source }) => source ?? [])
  const files = sources.map((source) => parseModelSource(source, shell.env))
  const results: CheckResult[] = []
  for await (const result of runDoctor({
    gatewayUrl: gateways[0] ?? null,
    home,
    engineFolder: config.engine === 'llama.cpp' ? engineFolder(engine, gpu !== 'none') : null,
    modelPaths: files.flatMap((file) => (file.kind === 'path' ? [file.path] : [])),
    upstream,
    upstreamKey: upstreamKeyEnv === null ? null : (shell.env[upstreamKeyEnv] ?? null),
    signal: shell.stops.stop,
  })) {
    tell(result)
    results.push(result)
  }
  return results
}

function throwIfFailed(checks: readonly CheckResult[], next: string): void {
  const failed = checks.filter(({ status }) => status === 'fail')
  if (failed.length === 0) return
  const names = failed.map((one) => one.check).join(', ')
  throw new Failure(EXIT.failure, `this machine is not ready to serve: ${names}`, {
    code: 'not_ready',
    next,
  })
}

const enginesOf = ({ enginesDir, home }: NodeConfig): string => enginesDir ?? join(home, 'engines')
