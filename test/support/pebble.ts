/**
 * Pebble, Let's Encrypt's ACME server for tests, and a DNS server whose names all lead to this machine; both of
 * Debian's package `pebble`. Processes of their own, ended with the test.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { get } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { makeCertificate } from '../../src/io/http/test-certificates.ts'
import { freePort } from './program.ts'

const PEBBLE = '/usr/bin/pebble'
const DNS = '/usr/bin/pebble-challtestsrv'

/** For a test's `skip`. `.ci/run` installs what is missing. */
export function acmeUnavailable(): string | false {
  return [PEBBLE, DNS].every((path) => existsSync(path))
    ? false
    : "no ACME server to test against: Debian's package `pebble` has one (apt-get install pebble)"
}

export type Pebble = {
  readonly directory: string
  /** What checks the directory's own TLS. */
  readonly caFile: string
  /** The root of what it issues, PEM: a new one each time. */
  readonly root: string
  /** Orders that it took so far. Some first tries it refuses on purpose, with a nonce that it calls bad. */
  readonly orders: () => number
  /** Where a name leads from now on, instead of 127.0.0.1. */
  readonly lead: (name: string, address: string) => Promise<void>
}

/** Asks for challenges at `httpPort` of 127.0.0.1. */
export async function startPebble(t: TestContext, httpPort: number): Promise<Pebble> {
  const folder = mkdtempSync(join(tmpdir(), 'baseload-pebble-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const [port, management, dns, dnsManagement] = await Promise.all([1, 2, 3, 4].map(freePort))
  const own = await makeCertificate(['localhost', '127.0.0.1'])
  const files = { certificate: join(folder, 'own.crt'), privateKey: join(folder, 'own.key') }
  writeFileSync(files.certificate, own.cert)
  writeFileSync(files.privateKey, own.key)
  const pebble = {
    ...files,
    listenAddress: `127.0.0.1:${port}`,
    managementListenAddress: `127.0.0.1:${management}`,
    httpPort,
    tlsPort: 1,
    ocspResponderURL: '',
    externalAccountBindingRequired: false,
  }
  writeFileSync(join(folder, 'pebble.json'), JSON.stringify({ pebble }))
  const off = ['-http01', '', '-https01', '', '-tlsalpn01', '', '-defaultIPv6', '']
  const at = ['-dns01', `127.0.0.1:${dns}`, '-management', `127.0.0.1:${dnsManagement}`]
  run(t, DNS, [...off, ...at])
  const config = ['-config', join(folder, 'pebble.json'), '-dnsserver', `127.0.0.1:${dns}`]
  const said = run(t, PEBBLE, ['-strict', ...config], { PEBBLE_VA_NOSLEEP: '1' })
  const ca = own.cert
  const roots = `https://127.0.0.1:${management}/roots/0`
  const root = await soon(() => page(roots, ca))
  return {
    directory: `https://127.0.0.1:${port}/dir`,
    caFile: files.certificate,
    root,
    orders: () => said().match(/Added order .* to the db/g)?.length ?? 0,
    async lead(name, address) {
      const body = JSON.stringify({ host: name, addresses: [address] })
      const answer = await soon(() =>
        fetch(`http://127.0.0.1:${dnsManagement}/add-a`, { method: 'POST', body }),
      )
      assert.equal(answer.status, 200)
    },
  }
}

function run(t: TestContext, program: string, args: readonly string[], env = {}): () => string {
  const child = spawn(program, args, { env: { ...process.env, ...env } })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (piece: string) => (said += piece))
  t.after(async () => {
    const gone = once(child, 'exit')
    if (child.exitCode === null && child.kill('SIGKILL')) await gone
  })
  return () => said
}

async function page(url: string, ca: string): Promise<string> {
  const [answer] = await once(get(url, { ca, agent: false }), 'response')
  return await text(answer)
}

async function soon<T>(what: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await what()
    } catch (error) {
      if (tries >= 100) throw error
      await pause(50)
    }
  }
}
