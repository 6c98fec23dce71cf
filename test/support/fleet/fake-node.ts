/** A fake node as a process of its own: `fake-node.js HOME ENGINE-SETTINGS GATEWAY…`. All is real but its engine. */
import { silentLogger } from '../../../src/io/telemetry/logger.ts'
import { nodeConfig } from '../../../src/programs/node/config.ts'
import { startNode } from '../../../src/programs/node/main.ts'
import { createFleetEngine, FLEET_MODEL, type FleetFault } from './fleet-engine.ts'

const [home = '', settings = '{}', ...gateways] = process.argv.slice(2)
const engine = createFleetEngine(JSON.parse(settings))
const node = await startNode(
  nodeConfig.parse({
    gateways,
    home,
    models: [{ name: FLEET_MODEL, source: 'none.gguf' }],
    leases: 'off',
    drainSeconds: 2,
  }),
  {
    logger: silentLogger,
    say: (line) => process.stdout.write(`${line}\n`),
    engine,
    settleMs: 500,
  },
)
process.on('message', (fault: FleetFault) => {
  engine.fault = fault
})
process.once('SIGTERM', () => void node.stop().then(() => process.exit(0)))
// The tests that started it are gone.
process.once('disconnect', () => process.exit(0))
process.send?.({ ready: { id: node.id } })
