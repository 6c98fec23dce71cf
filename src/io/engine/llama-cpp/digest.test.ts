import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { fileDigest } from './digest.ts'

const ABC = 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'

describe('fileDigest', { timeout: 5000 }, () => {
  it('hashes once, and again when the file has changed', async () => {
    await using place = await setup()
    assert.equal(await fileDigest(place.file, place.memory), ABC)
    // A remembered digest is taken at its word: the proof that the file was not read again.
    const told = ABC.replace('ba', 'ff')
    await writeFile(place.memory, (await readFile(place.memory, 'utf8')).replace(ABC, told))
    assert.equal(await fileDigest(place.file, place.memory), told)
    await utimes(place.file, 1, 1)
    assert.equal(await fileDigest(place.file, place.memory), ABC)
  })

  it('works without its memory, and names a file that is not there', async () => {
    await using place = await setup()
    await writeFile(place.memory, '{ broken')
    assert.equal(await fileDigest(place.file, place.memory), ABC)
    await assert.rejects(fileDigest(`${place.file}.not`, place.memory), {
      code: 'model_file_unreadable',
    })
  })
})

async function setup() {
  const folder = await mkdtemp(join(tmpdir(), 'baseload-digest-'))
  const file = join(folder, 'model.gguf')
  await writeFile(file, 'abc')
  return {
    file,
    memory: join(folder, 'digests.json'),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}
