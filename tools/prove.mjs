// `npm run contracts:prove`: has solc's SMTChecker prove contracts/proof for all numbers, and makes sure that it would not prove
// a wrong split. Needs the program `z3`; a minute.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { prepareContracts } from './prepare.mjs'

const SOURCE = 'proof/LeaseSplitProof.sol'
/** What must not be proved: a unit that goes to both. */
const BUG = ['toTenant = deposit - earned;', 'toTenant = deposit - earned + 1;']

if (spawnSync('z3', ['--version']).error) fail('z3 is not installed (`apt-get install z3`)')
prepareContracts()
const contracts = fileURLToPath(new URL('../contracts/', import.meta.url))
const require = createRequire(join(contracts, 'package.json'))
const solc = require('solc')
const smtchecker = require('solc/smtchecker')
const smtsolver = require('solc/smtsolver')
const z3 = smtsolver.availableSolvers.find(({ name }) => name === 'z3')
if (!z3) fail('solc does not find z3')

const { proved, open } = prove((text) => text)
for (const message of [...proved, ...open]) process.stdout.write(`${message}\n`)
if (proved.length === 0 || open.length > 0) fail(`${open.length} claims are not proved`)

const wrong = prove((text) => text.replace(...BUG))
if (wrong.open.length === 0) fail('a wrong split is proved, too: this proves nothing')
process.stdout.write(`${proved.length} claims hold for all numbers; a wrong split is not proved\n`)

/** What is proved and what is not, of the contracts as `change` makes them. */
function prove(change) {
  const read = (path) => change(readFileSync(join(contracts, path), 'utf8'))
  const input = {
    language: 'Solidity',
    sources: { [SOURCE]: { content: read(SOURCE) } },
    settings: {
      evmVersion: 'prague',
      modelChecker: {
        engine: 'chc',
        solvers: ['smtlib2'],
        targets: ['assert', 'underflow', 'overflow', 'divByZero'],
        contracts: { [SOURCE]: ['LeaseSplitProof'] },
        showProvedSafe: true,
        showUnproved: true,
      },
    },
  }
  const output = solc.compile(JSON.stringify(input), {
    import: (path) => ({ contents: read(path) }),
    smtSolver: smtchecker.smtCallback(smtsolver.smtSolver, z3),
  })
  const messages = (JSON.parse(output).errors ?? []).map((error) => error.formattedMessage)
  const proofs = messages.filter((message) => message.includes('check is safe'))
  return { proved: proofs, open: messages.filter((message) => !proofs.includes(message)) }
}

function fail(message) {
  process.stderr.write(`\n  ✗ ${message}\n`)
  process.exit(1)
}
