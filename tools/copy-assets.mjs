// tsc copies only what it compiles: put the migrations and the engine's lock files beside their compiled modules.
import { cpSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
for (const file of readdirSync(join(root, 'src'), { recursive: true })) {
  if (/\.(sql|json)$/.test(file)) cpSync(join(root, 'src', file), join(root, 'dist', 'src', file))
}
