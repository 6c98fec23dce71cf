// `npm run contracts:mutants [-- WORD]`: plants each bug of contracts/mutants (those with WORD in their name) into a copy of the
// contracts and runs the tests that must catch it; fails when one goes through. `--check` only tells whether each still applies.
//
// A mutant is a patch with two lines before it: what it breaks, and `test: ` with the test contracts that catch it, as a pattern.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { prepareContracts } from './prepare.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const contracts = join(root, 'contracts')
const args = process.argv.slice(2)
const word = args.find((arg) => !arg.startsWith('-')) ?? ''
const mutants = readdirSync(join(contracts, 'mutants'))
  .filter((name) => name.endsWith('.patch') && name.includes(word))
  .toSorted()
  .map(readMutant)
if (mutants.length === 0) fail(`no mutant has "${word}" in its name`)

const failures = args.includes('--check') ? check() : plantAll()
if (failures > 0) fail(`${failures} of ${mutants.length} mutants`)
process.stdout.write(`${mutants.length} mutants: all good\n`)

function readMutant(file) {
  const path = join(contracts, 'mutants', file)
  const [what, test] = readFileSync(path, 'utf8').split('\n')
  const match = /^test: (\S+)$/.exec(test ?? '')
  if (!match) fail(`${file} does not say in its second line which test catches it`)
  return { name: file.replace(/\.patch$/, ''), path, what, test: match[1] }
}

function check() {
  let failed = 0
  for (const { name, path } of mutants) {
    const applied = git(contracts, ['apply', '--check', path])
    if (applied.status === 0) continue
    failed += 1
    process.stdout.write(`✗ ${name} no longer applies: ${applied.stderr.trim()}\n`)
  }
  return failed
}

function plantAll() {
  prepareContracts()
  const copy = mkdtempSync(join(tmpdir(), 'baseload-mutants-'))
  try {
    for (const part of ['src', 'test', 'bin', 'foundry.toml'])
      cpSync(join(contracts, part), join(copy, part), { recursive: true })
    symlinkSync(join(contracts, 'node_modules'), join(copy, 'node_modules'))
    const tests = [...new Set(mutants.map(({ test }) => test))].join('|')
    const { caught, output } = runTests(copy, `^(${tests})$`)
    if (caught !== 0) fail(`without any bug the tests must pass:\n${output}`)
    return mutants.filter((mutant) => !isCaught(copy, mutant)).length
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}

function isCaught(copy, { name, path, what, test }) {
  const applied = git(copy, ['apply', path])
  if (applied.status !== 0) {
    process.stdout.write(`✗ ${name} does not apply: ${applied.stderr.trim()}\n`)
    return false
  }
  const { caught, output } = runTests(copy, `^${test}$`)
  git(copy, ['apply', '--reverse', path])
  const verdict = caught === null ? `did not compile:\n${output}` : `${caught} tests fail`
  process.stdout.write(`${caught ? '✓' : '✗'} ${name}: ${what} ${verdict}\n`)
  return Boolean(caught)
}

/** How many tests fail; null when there was nothing to run. */
function runTests(copy, match) {
  const forge = fileURLToPath(new URL('forge.mjs', import.meta.url))
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [forge, 'test', '--json', '--match-contract', match],
    {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      env: {
        ...process.env,
        BASELOAD_CONTRACTS: copy,
        FORGE_SNAPSHOT_EMIT: 'false',
        // Bugs are the same without the optimizer, and compile four times as fast.
        FOUNDRY_OPTIMIZER: 'false',
        // Unit tests catch most; what is left to chance needs fewer throws here.
        FOUNDRY_FUZZ_RUNS: '64',
        // A mutant may leave behind what nobody uses.
        FOUNDRY_DENY: 'never',
      },
    },
  )
  const json = stdout.split('\n').find((line) => line.startsWith('{"test/'))
  if (!json) return { caught: null, output: `${stdout}${stderr}` }
  const outcomes = Object.values(JSON.parse(json)).flatMap((suite) =>
    Object.values(suite.test_results),
  )
  if (outcomes.length === 0) return { caught: null, output: `no test matches ${match}` }
  return { caught: outcomes.filter(({ status }) => status !== 'Success').length, output: stdout }
}

function git(cwd, command) {
  return spawnSync('git', command, { cwd, encoding: 'utf8' })
}

function fail(message) {
  process.stderr.write(`\n  ✗ ${message}\n`)
  process.exit(1)
}
