/** `baseload gateway`: one gateway in this process. */
import type { Command } from 'commander'
import { gatewayConfig } from '../../gateway/config.ts'
import { addOptions } from '../settings/manual.ts'
import { makePrivateFolder } from '../shell/home.ts'
import { aborted } from '../shell/stop-requests.ts'
import { reportReady } from '../shell/supervised.ts'
import { describe, print, type Flags, type Shell } from './command.ts'
import { roleSettings } from './role.ts'

export function gatewayCommand(command: Command, shell: Shell): Command {
  describe(
    command,
    'Run a gateway over your PostgreSQL (DATABASE_URL); nodes link to it, tenants ask it',
    'DATABASE_URL=postgres://user:password@host/baseload baseload gateway --port 8420',
    'baseload help config gateway',
  )
  return addOptions(command, gatewayConfig, ['home']).action(async (flags: Flags) => {
    const { settings: config } = roleSettings('gateway', gatewayConfig, flags, shell)
    makePrivateFolder(config.home)
    const [{ startGateway }, { createLogger }] = await Promise.all([
      import('../../gateway/main.ts'),
      import('../../../io/telemetry/logger.ts'),
    ])
    const logger = createLogger(config.logLevel, config.logFile)
    const say = (line: string) => void shell.terminal.out(`${line}\n`)
    const gateway = await startGateway(config, { logger, say })
    reportReady(gateway.id)
    if (!process.connected)
      await print(
        flags,
        shell.terminal,
        { url: gateway.url, id: gateway.id, snapshots: gateway.snapshots },
        () =>
          `gateway ${gateway.id} listens at ${gateway.url}; snapshots go to ${gateway.snapshots}\n`,
      )
    await aborted(shell.stops.stop)
    await gateway.close()
  })
}
