/** A node without a model: a server that runs here already may be what its provider means. Asked, never taken. */
import { findRunningServers, type RunningServer } from '../../../io/engine/openai/discover.ts'
import type { NodeConfig } from '../../node/config.ts'
import { askYesNo } from '../shell/ask.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import type { Shell } from './command.ts'
import { sellCommand } from './doctor-report.ts'

/** The base URL of the server that was agreed to. Throws Failure when there is nothing to serve. */
export async function chooseServer(config: NodeConfig, shell: Shell): Promise<string> {
  const { terminal, stops } = shell
  const servers = await findRunningServers(stops.stop)
  if (terminal.canAsk)
    for (const server of servers.filter(({ needsKey }) => !needsKey)) {
      const models = server.models.join(', ') || 'no models yet'
      const question = `Sell ${server.software} at ${server.upstream} (${models})?`
      if (await askYesNo(question, stops.stop)) return server.upstream
    }
  throw nothingToServe(servers, config.gateways[0] ?? '<gateway>')
}

function nothingToServe(servers: readonly RunningServer[], gateway: string): Failure {
  const commands = servers.map(
    (server) => `sell ${server.software}: ${sellCommand(server, gateway)}`,
  )
  const next = [`name a model: baseload join ${gateway} --model <file.gguf>`, ...commands]
  return new Failure(EXIT.usage, 'there is nothing to serve yet', {
    code: 'nothing_to_serve',
    next: next.join('\n  → '),
  })
}
