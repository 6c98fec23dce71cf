/** `baseload join`: this machine becomes a node of a network. */
import type { Command } from 'commander'
import { nodeConfig, readNodeConfig, type NodeConfig } from '../../node/config.ts'
import { addOptions } from '../settings/manual.ts'
import { makePrivateFolder } from '../shell/home.ts'
import { aborted } from '../shell/stop-requests.ts'
import { reportReady } from '../shell/supervised.ts'
import { collect, describe, print, type Flags, type Shell } from './command.ts'
import { modelFlags } from './model-flags.ts'
import { roleSettings } from './role.ts'

export function joinCommand(command: Command, shell: Shell): Command {
  describe(
    command.argument('[gateways...]', 'gateway addresses; several are fine'),
    'Sell what this machine can compute: no open port, no wallet, no stake',
    'baseload join https://gateway.example --model hf:org/repo/file.gguf',
    'baseload join https://gateway.example --model bard=./bard-3m-f16.gguf --slots 4 --price-out 0.05',
    'baseload join https://gateway.example --engine openai --upstream http://127.0.0.1:8000/v1',
  )
    .option(
      '--model <model>',
      '[name=]file.gguf, https://… or hf:org/repo/file.gguf; an upstream’s name with --engine openai (repeatable)',
      collect,
    )
    .option('--slots <number>', 'answers at the same time, of each --model [4]')
    .option('--price-in <usd>', 'USD per million input tokens, of each --model [0.02]')
    .option('--price-out <usd>', 'USD per million output tokens, of each --model [0.05]')
    .option('--skip-doctor', 'do not check this machine first')
  return addOptions(command, nodeConfig, ['home', 'gateways', 'models']).action(
    async (gateways: string[], flags: Flags) => {
      const settings = joinSettings(gateways, flags, shell)
      const config = readNodeConfig(await servable(settings, shell))
      makePrivateFolder(config.home)
      if (flags['skipDoctor'] !== true) {
        const { doctorFirst } = await import('./examine.ts')
        await doctorFirst(config, shell)
      }
      await runNode(config, flags, shell)
    },
  )
}

function joinSettings(gateways: readonly string[], flags: Flags, shell: Shell): NodeConfig {
  const models = modelFlags(flags)
  const given = {
    ...flags,
    gateways: gateways.length > 0 ? gateways : undefined,
    models: models.length > 0 ? models : undefined,
  }
  return roleSettings('node', nodeConfig, given, shell, {
    gateways: 'the address',
    models: '--model',
  }).settings
}

/** A provider who names no model may mean a server that runs here already. */
async function servable(config: NodeConfig, shell: Shell): Promise<NodeConfig> {
  if (config.engine !== 'llama.cpp' || config.models.length > 0) return config
  const { chooseServer } = await import('./choose-server.ts')
  return { ...config, engine: 'openai', upstream: await chooseServer(config, shell) }
}

/** Runs until the node has left: the first request to stop lets running answers end, the second hands them over. */
async function runNode(config: NodeConfig, flags: Flags, shell: Shell): Promise<void> {
  const [{ startNode }, { createLogger }] = await Promise.all([
    import('../../node/main.ts'),
    import('../../../io/telemetry/logger.ts'),
  ])
  const { terminal, stops } = shell
  const logger = createLogger(config.logLevel, config.logFile)
  const say = (line: string) => terminal.err(`${line}\n`)
  const hurry = new AbortController()
  // While a model is downloaded or loaded there is nothing to finish: the first request ends it.
  const breakOff = () => hurry.abort()
  stops.stop.addEventListener('abort', breakOff)
  if (stops.stop.aborted) breakOff()
  const node = await startNode(config, { logger, say, signal: hurry.signal })
  stops.stop.removeEventListener('abort', breakOff)
  stops.kill.addEventListener('abort', breakOff)

  reportReady(node.id)
  if (!process.connected)
    await print(flags, terminal, { id: node.id, gateways: config.gateways }, () => {
      say('Ctrl-C finishes what runs, then leaves; a second one hands it over at once')
      return ''
    })
  await Promise.race([aborted(stops.stop), node.drained])
  await node.drain()
}
