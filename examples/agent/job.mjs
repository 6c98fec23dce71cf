// Hires a machine for a piece of work: pays into an account of its own by one transfer, deploys job.yaml, fetches what it
// worked out, and closes the lease.
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { ExactEvmScheme } from '@x402/evm/exact/client'
import { wrapFetchWithPayment, x402Client } from '@x402/fetch'
import { readJson } from './inference.mjs'

const LIMIT = 100_000
const WAIT_MS = 180_000

/** An API key of the payer's own account with so many dollars in it. It is told once: kept in the purse at once. */
export async function topUp({ gateway, chain, purse, signer, usd }) {
  const network = `eip155:${chain.chain_id}`
  const asset = chain.token.address
  const client = x402Client.fromConfig({
    schemes: [{ network, client: new ExactEvmScheme(signer) }],
    spendControls: { allowedAssets: [{ network, asset, maxAmountPerPayment: String(10n ** 15n) }] },
  })
  const pay = wrapFetchWithPayment(fetch, client)
  const response = await pay(`${gateway}/v1/topups`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ amount_usd: usd }),
  })
  const text = await response.text()
  if (!response.ok)
    throw new Error(`the top-up was refused, ${response.status}: ${text.slice(0, 500)}`)
  const { account, api_key: key, state, transaction } = JSON.parse(text)
  if (key === undefined)
    throw new Error(`the top-up ${transaction} was made, but its key was told before`)
  purse.note({ account, key })
  return { account, key, state, transaction }
}

/** Deploys, waits, fetches, checks and closes. `{ skipped }` says why nothing was hired. */
export async function runJob({ gateway, key, purse, say }) {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  const call = (method, path, body, more = {}) =>
    readJson(`${gateway}/v1/deployments${path}`, {
      method,
      headers: { ...headers, ...more },
      ...(body && { body: JSON.stringify(body) }),
    })
  const sdl = readFileSync(new URL('job.yaml', import.meta.url), 'utf8')
  let { deployment } = purse.notes
  if (deployment === undefined) {
    const { groups } = await call('POST', '/screen', { sdl })
    if (groups.some(({ bids }) => bids.length === 0))
      return { skipped: 'no machine offers containers just now' }
    // The same key after a crash gives the same deployment, not a second one.
    const { order = randomUUID() } = purse.notes
    purse.note({ order })
    deployment = (
      await call(
        'POST',
        '',
        { sdl, name: `primes-${order.slice(0, 8)}` },
        { 'idempotency-key': order },
      )
    ).id
    purse.note({ deployment })
  }
  try {
    say(`hired: ${deployment}`)
    const url = await untilRunning(() => call('GET', `/${deployment}`))
    const counted = Number(await page(url, gateway))
    if (counted !== countPrimes(LIMIT))
      throw new Error(`the job says that there are ${counted} primes below ${LIMIT}`)
    say(`fetched ${url}: ${counted} primes below ${LIMIT}, as counted here`)
    return { deployment, result: counted, ...(await closed(call, deployment)) }
  } catch (error) {
    await closed(call, deployment).catch(() => {})
    throw error
  } finally {
    purse.note({ deployment: undefined, order: undefined })
  }
}

async function untilRunning(look) {
  for (const deadline = Date.now() + WAIT_MS; Date.now() < deadline; await sleep(500)) {
    const { leases, closed_at: closedAt } = await look()
    const [lease] = leases
    if (closedAt) throw new Error(`the lease was closed: ${lease?.message}`)
    const url = lease?.services?.flatMap(({ urls }) => urls)[0]
    if (lease?.state === 'running' && url) return url
  }
  throw new Error(`the job did not run within ${WAIT_MS / 1000} s`)
}

/** It answers once it has counted. Names below `localhost` lead to the gateway's machine, also where no resolver knows it. */
async function page(url, gateway) {
  for (const deadline = Date.now() + WAIT_MS; Date.now() < deadline; await sleep(500)) {
    const { hostname, host, port, protocol, pathname } = new URL(url)
    if (protocol === 'https:') {
      const response = await fetch(url).catch(() => null)
      if (response?.ok) return await response.text()
      continue
    }
    const at = hostname.endsWith('.localhost') ? new URL(gateway).hostname : hostname
    const text = await new Promise((resolve) => {
      const options = {
        host: at,
        port,
        path: pathname,
        headers: { host },
        agent: false,
        timeout: 5000,
      }
      const asked = request(options, (answer) => {
        let body = ''
        answer.setEncoding('utf8').on('data', (piece) => (body += piece))
        answer.on('end', () => resolve(answer.statusCode === 200 ? body : null))
        answer.on('error', () => resolve(null))
      })
      asked.on('timeout', () => asked.destroy())
      asked.on('error', () => resolve(null)).end()
    })
    if (text !== null) return text
  }
  throw new Error(`${url} did not answer within ${WAIT_MS / 1000} s`)
}

/** What it cost is known when the lease is closed. */
async function closed(call, deployment) {
  let state = await call('DELETE', `/${deployment}`)
  for (let i = 0; i < 120 && state.leases.some((lease) => lease.state !== 'closed'); i++) {
    await sleep(250)
    state = await call('GET', `/${deployment}`)
  }
  const nanoUsd = state.leases.reduce((all, { spent }) => all + BigInt(spent.nano_usd), 0n)
  return { nanoUsd, open: state.leases.some((lease) => lease.state !== 'closed') }
}

function countPrimes(below) {
  const sieve = new Uint8Array(below)
  let count = 0
  for (let i = 2; i < below; i++) {
    if (sieve[i]) continue
    count += 1
    for (let j = i * i; j < below; j += i) sieve[j] = 1
  }
  return count
}
