// tsc copies no .sql: put each beside its compiled module.
import { cpSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
for (const file of readdirSync(join(root, 'src'), { recursive: true })) {
  if (file.endsWith('.sql')) cpSync(join(root, 'src', file), join(root, 'dist', 'src', file))
}
