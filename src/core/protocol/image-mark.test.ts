import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import { fullReference, IMAGE_MARK, imageMark } from './image-mark.ts'

const sha256Hex = (text: string) => createHash('sha256').update(text).digest('hex')

describe('the mark of an image', () => {
  it('is of its full name, however that is written', () => {
    const same: [string, string][] = [
      ['nginx', 'docker.io/library/nginx:latest'],
      ['nginx:1.27', 'docker.io/library/nginx:1.27'],
      ['index.docker.io/library/nginx', 'docker.io/library/nginx:latest'],
      ['me/app:2', 'docker.io/me/app:2'],
      ['ghcr.io/me/app', 'ghcr.io/me/app:latest'],
      ['localhost:5000/app:1', 'localhost:5000/app:1'],
      ['registry:5000/a/b', 'registry:5000/a/b:latest'],
      ['nginx:1.27@sha256:abc', 'docker.io/library/nginx@sha256:abc'],
      ['ghcr.io/me/app@sha256:abc', 'ghcr.io/me/app@sha256:abc'],
    ]
    for (const [written, full] of same) {
      assert.equal(fullReference(written), full)
      assert.equal(fullReference(full), full)
    }
  })

  it('is another for each image and for each gateway, and short', () => {
    const marks = ['nginx', 'nginx:1', 'me/nginx'].flatMap((image) =>
      ['gw_a', 'gw_b'].map((gateway) => imageMark(gateway, image, sha256Hex)),
    )
    assert.equal(new Set(marks).size, 6)
    for (const mark of marks) assert.match(mark, IMAGE_MARK)
  })
})
