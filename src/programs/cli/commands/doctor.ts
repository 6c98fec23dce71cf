/** `baseload doctor`: what this machine is, what stands in its way, and what would help. */
import { join } from 'node:path'
import type { Command } from 'commander'
import { z } from 'zod'
import { parseModelSource } from '../../../io/engine/model-file/model-source.ts'
import { findRunningServers } from '../../../io/engine/openai/discover.ts'
import type { CheckResult } from '../../../io/probe/check-result.ts'
import { runDoctor } from '../../../io/probe/doctor.ts'
import { detectHardware } from '../../../io/probe/hardware.ts'
import { nodeConfig, type NodeConfig } from '../../node/config.ts'
import { addOptions } from '../settings/manual.ts'
import { askYesNo } from '../shell/ask.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { collect, describe, type Flags, type Shell } from './command.ts'
import { engineText, findingText, hardwareText, serverText } from './doctor-report.ts'
import { engineFolder, engineState, installEngine } from './engine-install.ts'
import { modelFlags } from './model-flags.ts'
import { roleSettings } from './role.ts'

/** A machine can be looked at before it has a gateway. */
const doctorConfig = nodeConfig.extend({ gateways: z.array(z.string()).default([]) })
const ASKED = ['engine', 'upstream', 'upstreamKeyEnv', 'enginesDir']
const UNASKED = Object.keys(nodeConfig.shape).filter((key) => !ASKED.includes(key))

export function doctorCommand(command: Command, shell: Shell): Command {
  describe(
    command.argument('[gateway]', 'also look at this gateway: network and clock'),
    'Check this machine: hardware, clock, network, disk, memory, engine, model files',
    'baseload doctor https://gateway.example --model model.gguf',
    'baseload doctor --install',
  )
    .option('--model <model>', 'also check this model file (repeatable)', collect)
    .option(
      '--install [backend]',
      'install llama.cpp: the best backend for this machine, or this one',
    )
  return addOptions(command, doctorConfig, UNASKED).action(
    async (gateway: string | undefined, flags: Flags) => {
      const models = modelFlags(flags)
      const given = {
        ...flags,
        gateways: gateway === undefined ? undefined : [gateway],
        models: models.length > 0 ? models : undefined,
      }
      const { settings } = roleSettings('node', doctorConfig, given, shell)
      await examine(settings, flags, shell)
    },
  )
}

async function examine(config: NodeConfig, flags: Flags, shell: Shell): Promise<void> {
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
  const engine = await engineState(enginesOf(config))
  show(`\nllama.cpp for this machine (✓ installed)\n${engineText(engine)}`)
  const servers = await findRunningServers(stops.stop)
  const gateway = config.gateways[0] ?? '<gateway>'
  if (servers.length > 0)
    show(
      `\nServers that run here, and could be sold\n${servers.map((one) => serverText(one, gateway)).join('')}`,
    )
  if (json) await terminal.out(`${JSON.stringify({ hardware, checks, engine, servers })}\n`)
  throwIfFailed(checks, 'mend the above, and run `baseload doctor` again')
}

/** What `join` does first: the checks alone, and the engine's installation when somebody agrees to it. */
export async function doctorFirst(config: NodeConfig, shell: Shell): Promise<void> {
  const { terminal, stops } = shell
  const engine = await engineState(enginesOf(config))
  const missing = config.engine === 'llama.cpp' && engine.installed.length === 0
  if (missing && terminal.canAsk) {
    terminal.err('This node needs llama.cpp, which is not installed yet.\n')
    terminal.err(engineText(engine))
    if (await askYesNo('Install the first of these now?', stops.stop))
      await installEngine(engine, true, (line) => terminal.err(`  · ${line}\n`))
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
