/** `baseload doctor`: what this machine is, what stands in its way, and what would help. */
import type { Command } from 'commander'
import { z } from 'zod'
import { nodeConfig } from '../../node/config.ts'
import { addOptions } from '../settings/manual.ts'
import { collect, describe, type Flags, type Shell } from './command.ts'
import { modelFlags } from './model-flags.ts'
import { roleSettings } from './role.ts'

/** A machine can be looked at before it has a gateway. */
const doctorConfig = nodeConfig.extend({ gateways: z.array(z.string()).default([]) })
const ASKED = ['engine', 'upstream', 'upstreamKeyEnv', 'enginesDir', 'pricingProgram']
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
      const { examine } = await import('./examine.ts')
      await examine(settings, flags, shell)
    },
  )
}
