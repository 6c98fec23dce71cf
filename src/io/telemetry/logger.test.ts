import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createLogger } from './logger.ts'

describe('logger', () => {
  it('writes one JSON line an event, without prompts and keys', { timeout: 10_000 }, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'baseload-log-'))
    t.after(() => rmSync(folder, { recursive: true, force: true }))
    const path = join(folder, 'logs', 'gateway.log')
    const logger = createLogger('info', path).child({ gateway: 'gw_1' })
    logger.debug('too quiet')
    logger.info('request', { apiKey: 'sk-secret', prompt: 'my secret', nanoUsd: 12n })
    logger.error('broke', { cause: new Error('disk full') })
    const lines = await linesOf(path, 2)
    assert.deepEqual(
      lines.map(({ level, gateway, message }) => [level, gateway, message]),
      [
        ['info', 'gw_1', 'request'],
        ['error', 'gw_1', 'broke'],
      ],
    )
    assert.doesNotMatch(JSON.stringify(lines), /secret"|sk-secret|my secret/)
    assert.equal(lines[0]?.['nanoUsd'], '12')
    assert.match(JSON.stringify(lines[1]?.['cause']), /disk full/)
  })
})

/** The log is written in the background: looked at until it has so many lines. */
async function linesOf(path: string, count: number): Promise<Record<string, unknown>[]> {
  for (;;) {
    const lines = textOf(path)
      .split('\n')
      .filter((line) => line !== '')
    if (lines.length >= count) return lines.map((line): Record<string, unknown> => JSON.parse(line))
    await new Promise((resolve) => setImmediate(resolve))
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
