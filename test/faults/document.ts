/** Appends a campaign's results to docs/reliability.md. */
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import type { Result } from './campaign.ts'

const DOCUMENT = new URL('../../docs/reliability.md', import.meta.url)

export function appendResults(results: readonly Result[], seed: number): void {
  const rows = results.map(({ number, fault, measured, missing, failed }) => {
    const seen =
      measured?.measured ?? (missing === null ? `broke: ${failed}` : `cannot run: ${missing}`)
    const verdict = measured === null ? (missing === null ? '✗' : '–') : measured.pass ? '✓' : '✗'
    return `| ${number} | ${cell(fault)} | ${measured?.n.toLocaleString('en-US') ?? '–'} | ${cell(seen)} | ${verdict} |`
  })
  const day = new Date().toISOString().slice(0, 10)
  const text = [
    readFileSync(DOCUMENT, 'utf8').trimEnd(),
    '',
    `### ${day}, ${cpus().length} cores, seed ${seed}`,
    '',
    '| row | fault | n | measured | |',
    '| --: | --- | --: | --- | --- |',
    ...rows,
    '',
  ]
  writeFileSync(DOCUMENT, text.join('\n'))
}

const cell = (text: string): string =>
  (text.split('\n')[0] ?? '').replaceAll('|', '/').slice(0, 300)
