/** A process full of bench nodes: `nodes.js GATEWAY COUNT`. Says `linked` once all of them are. */
import { startBenchNode } from './bench-node.ts'

/** The gateway turns away more handshakes at a time than it has set. */
const DIALLING = 128

const [gateway = '', count = '1'] = process.argv.slice(2)
const wanted = Number(count)
let dialled = 0
let linked = 0

function dial(): void {
  if (dialled === wanted) return
  dialled += 1
  let first = true
  startBenchNode(gateway, () => {
    if (!first) return
    first = false
    linked += 1
    if (linked === wanted) process.stdout.write('linked\n')
    else dial()
  })
}

for (let i = 0; i < Math.min(DIALLING, wanted); i++) dial()
process.on('SIGTERM', () => process.exit(0))
