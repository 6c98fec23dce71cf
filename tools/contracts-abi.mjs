// `npm run contracts:abi`: compiles contracts/ and writes src/io/chain/abi/*.ts, ABI and bytecode of each contract that
// TypeScript talks to. With `--check` it writes nothing, and fails when a file is not what it would write.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** File in src/io/chain/abi, prefix of its constants, contract. */
const CONTRACTS = [
  ['channels', 'channels', 'Channels'],
  ['eip3009-collector', 'eip3009Collector', 'Eip3009Collector'],
  ['jobs', 'jobs', 'Jobs'],
  ['leases', 'leases', 'Leases'],
  ['payouts', 'payouts', 'Payouts'],
  ['rewards', 'rewards', 'Rewards'],
  ['stakes', 'stakes', 'Stakes'],
  ['mock-usdc', 'mockUsdc', 'MockUSDC'],
  ['test-identity-registry', 'testIdentityRegistry', 'TestIdentityRegistry'],
  ['test-reputation-registry', 'testReputationRegistry', 'TestReputationRegistry'],
  ['test-validation-registry', 'testValidationRegistry', 'TestValidationRegistry'],
]

const root = fileURLToPath(new URL('..', import.meta.url))
const forge = fileURLToPath(new URL('forge.mjs', import.meta.url))
const built = spawnSync(process.execPath, [forge, 'build', '--quiet'], { stdio: 'inherit' })
if (built.status !== 0) process.exit(1)

const folder = join(root, 'src', 'io', 'chain', 'abi')
mkdirSync(folder, { recursive: true })
let stale = 0
for (const [file, prefix, contract] of CONTRACTS) {
  const path = join(folder, `${file}.ts`)
  const text = moduleOf(prefix, contract)
  if (!process.argv.includes('--check')) writeFileSync(path, text)
  else if (readOrNull(path) !== text) {
    stale += 1
    process.stderr.write(`src/io/chain/abi/${file}.ts is not what contracts/ compiles to\n`)
  }
}
if (stale > 0) process.stderr.write('Run `npm run contracts:abi` and commit what it writes.\n')
process.exit(stale > 0 ? 1 : 0)

/** One entry of the ABI a line: short enough to read, and a change shows as one. */
function moduleOf(prefix, contract) {
  const artifact = join(root, 'contracts', 'out', `${contract}.sol`, `${contract}.json`)
  const { abi, bytecode } = JSON.parse(readFileSync(artifact, 'utf8'))
  const entries = abi.map((entry) => `  ${JSON.stringify(withoutNames(entry))},`)
  return `/** ${contract}, written by \`npm run contracts:abi\`. What it means stands in contracts/. */
export const ${prefix}Abi = [
${entries.join('\n')}
] as const

/** What deploys it, before its constructor's arguments. */
export const ${prefix}Bytecode =
  '${bytecode.object}'
`
}

/** `internalType` names Solidity's own types, which nobody here reads. */
function withoutNames(value) {
  if (Array.isArray(value)) return value.map(withoutNames)
  if (typeof value !== 'object' || value === null) return value
  const kept = Object.entries(value).filter(([name]) => name !== 'internalType')
  return Object.fromEntries(kept.map(([name, inner]) => [name, withoutNames(inner)]))
}

function readOrNull(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}
