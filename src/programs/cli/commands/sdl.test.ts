import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setup as setupShell } from '../fake-shell.ts'
import { MAX_SDL_BYTES } from '../../../core/sdl/yaml-tree.ts'
import { EXIT } from '../shell/failure.ts'
import { packageRoot } from '../shell/home.ts'

const TIMEOUT = { timeout: 20_000 }
const example = (name: string): string => join(packageRoot(), 'examples', `${name}.yaml`)

describe('baseload sdl', TIMEOUT, () => {
  it('finds nothing wrong with the examples', TIMEOUT, async () => {
    const { run, close } = setup()
    for (const name of ['hello', 'two-services', 'gpu']) {
      const { code, out } = await run('sdl', 'check', example(name), '--json')
      assert.equal(code, EXIT.ok)
      assert.deepEqual(JSON.parse(out), { ok: true, problems: [], warnings: [] })
      assert.match(
        (await run('sdl', 'check', example(name))).out,
        /^✓ .*: \d services? in 1 group\n$/,
      )
    }
    close()
  })

  it('names the places of problems, and ends with 1', TIMEOUT, async () => {
    const { run, write, close } = setup()
    const path = write('version: "2.0"\nservices:\n  web:\n    depends_on: [db]\n')
    const { code, out, err } = await run('sdl', 'check', path)
    assert.equal(code, EXIT.failure)
    assert.match(err, /✗ .*app\.yaml:3:3 services\.web: 'image' is missing \(example: image: nginx/)
    assert.match(out, /! .*services\.web\.depends_on: .*services start together/)
    assert.match(err, /app\.yaml is refused: 3 problems/)
    const json = await run('sdl', 'check', path, '--json')
    assert.equal(JSON.parse(json.out).problems[0].line, 1)
    assert.equal(JSON.parse(json.err).error.code, 'invalid_sdl')
    const explained = await run('sdl', 'explain', path, '--json')
    assert.match(JSON.parse(explained.err).error.message, /3 problems; .*app\.yaml:1:1/)
    close()
  })

  it('explains, with the price of AKT that is given', TIMEOUT, async () => {
    const { run, close } = setup()
    const { out } = await run('sdl', 'explain', example('hello'))
    assert.match(out, /hello: 1 × traefik\/whoami.*\n.*\n.*reached by URL/)
    const { groups, prices } = JSON.parse(
      (await run('sdl', 'explain', example('gpu'), '--json')).out,
    )
    assert.equal(groups[0].units[0].maxRate, prices[0].atto_usd_per_second)
    const bad = await run('sdl', 'explain', example('hello'), '--akt-usd', 'much')
    assert.equal(bad.code, EXIT.usage)
    close()
  })

  it('converts to compose and back, and to what Akash reads', TIMEOUT, async () => {
    const { run, write, close } = setup()
    const compose = await run('sdl', 'convert', example('two-services'))
    assert.match(compose.out, /^services:\n {2}db:\n/)
    assert.match(compose.err, /! wordpress: http_options are left out/)
    const back = await run('sdl', 'convert', write(compose.out), '--json')
    assert.equal(JSON.parse(back.out).to, 'sdl')
    assert.match(JSON.parse(back.out).notes.join('\n'), /compose has no prices/)
    const manifest = await run('sdl', 'convert', example('hello'), '--to', 'manifest')
    assert.equal(JSON.parse(manifest.out)[0].services[0].name, 'hello')
    const groups = await run('sdl', 'convert', example('hello'), '--to', 'groups')
    assert.equal(JSON.parse(groups.out)[0].name, 'anywhere')
    assert.equal((await run('sdl', 'convert', example('hello'), '--to', 'helm')).code, EXIT.usage)
    close()
  })

  it('says which file cannot be read', TIMEOUT, async () => {
    const { run, write, home, close } = setup()
    const wrong: [string, RegExp][] = [
      ['nowhere.yaml', /cannot read nowhere\.yaml: there is no such file\n.*examples\/hello\.yaml/],
      [home, /it is a folder/],
      [write('#'.repeat(MAX_SDL_BYTES + 1)), /has 1048577 bytes; .* at most 1048576/],
    ]
    for (const [file, said] of wrong) {
      const { code, err } = await run('sdl', 'check', file)
      assert.equal(code, EXIT.usage)
      assert.match(err, said)
    }
    close()
  })
})

function setup() {
  const shell = setupShell()
  const write = (text: string): string => {
    const path = join(shell.home, 'app.yaml')
    writeFileSync(path, text)
    return path
  }
  return { ...shell, write }
}
