// `npm run bench:<name>`: installs and builds what is missing, then runs bench/<name>.ts as it was built.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { prepare } from './prepare.mjs'

const [name, ...args] = process.argv.slice(2)
const { root } = await prepare({ engine: false })
const program = join(root, 'dist', 'bench', `${name}.js`)
process.argv.splice(1, process.argv.length, program, ...args)
await import(pathToFileURL(program).href)
