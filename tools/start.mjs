// `npm start`: installs and builds what is missing, then runs `baseload up` in this same process.
// `npm start -- --port 8420 --nodes 5`: what comes after the two dashes goes to `baseload up`.
import { pathToFileURL } from 'node:url'
import { prepare } from './prepare.mjs'

const { cli } = await prepare({ engine: false })
process.argv.splice(1, process.argv.length, cli, 'up', ...process.argv.slice(2))
await import(pathToFileURL(cli).href)
