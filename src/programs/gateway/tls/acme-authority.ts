/** A certificate authority that speaks ACME (RFC 8555): an account with it, and certificates for names that it finds here by HTTP-01. */
import { readFileSync } from 'node:fs'
import { Agent } from 'node:https'
import type { Client } from 'acme-client'
import { Fault, reasonOf } from '../../../core/base/refusal.ts'
import type { Pem } from './certificate.ts'
import type { CertificateFolder } from './certificate-folder.ts'

export type AcmeSettings = {
  /** The authority's directory URL. */
  readonly directory: string
  /** E-mail addresses that it may write to. */
  readonly contact: readonly string[]
  /** Roots, PEM, by which the directory's own TLS is checked; null: those of the system. */
  readonly caFile: string | null
}

export type Authority = {
  /** A new certificate for the name. Throws Fault `acme_failed` with the authority's words. */
  issue(name: string): Promise<Pem>
  /** What it asks for at `/.well-known/acme-challenge/<token>` while it checks a name; null: no token of ours. */
  answer(token: string): string | null
}

/** An order takes seconds; one that takes longer than that is given up. */
const ORDER_MS = 120_000
/** How often the authority is asked whether it is through. */
const LOOK = { backoffAttempts: 30, backoffMin: 500, backoffMax: 5_000 }
/** One request to it. */
const REQUEST_MS = 20_000

export function createAuthority(settings: AcmeSettings, folder: CertificateFolder): Authority {
  const answers = new Map<string, string>()
  let account: Promise<Client> | null = null

  /** Made with the first order, and after a failure with the next. */
  function opened(): Promise<Client> {
    account ??= openAccount(settings, folder).catch((error: unknown) => {
      account = null
      throw error
    })
    return account
  }

  return {
    answer: (token) => answers.get(token) ?? null,
    async issue(name) {
      const tokens: string[] = []
      try {
        return await withinTime(
          opened().then((client) =>
            order(client, name, (token, answer) => {
              tokens.push(token)
              answers.set(token, answer)
            }),
          ),
        )
      } catch (cause) {
        throw new Fault('acme_failed', reasonOf(cause), { cause, retryable: true })
      } finally {
        for (const token of tokens) answers.delete(token)
      }
    },
  }
}

/** The library is loaded by those who use it only. */
async function openAccount(
  { directory, contact, caFile }: AcmeSettings,
  folder: CertificateFolder,
): Promise<Client> {
  const { default: acme } = await import('acme-client')
  acme.axios.defaults.timeout = REQUEST_MS
  if (caFile !== null) acme.axios.defaults.httpsAgent = new Agent({ ca: readFileSync(caFile) })
  let accountKey = folder.accountKey()
  if (accountKey === null) {
    accountKey = String(await acme.crypto.createPrivateEcdsaKey('P-256'))
    folder.saveAccountKey(accountKey)
  }
  const client = new acme.Client({ directoryUrl: directory, accountKey, ...LOOK })
  await client.createAccount({
    termsOfServiceAgreed: true,
    contact: contact.map((address) => `mailto:${address}`),
  })
  return client
}

async function order(
  client: Client,
  name: string,
  offer: (token: string, answer: string) => void,
): Promise<Pem> {
  const { default: acme } = await import('acme-client')
  const placed = await client.createOrder({ identifiers: [{ type: 'dns', value: name }] })
  for (const authorization of await client.getAuthorizations(placed)) {
    if (authorization.status === 'valid') continue
    const challenge = authorization.challenges.find(({ type }) => type === 'http-01')
    if (!challenge) throw new Error(`the authority offers no http-01 challenge for ${name}`)
    offer(challenge.token, await client.getChallengeKeyAuthorization(challenge))
    await client.completeChallenge(challenge)
    await client.waitForValidStatus(challenge)
  }
  const [key, request] = await acme.crypto.createCsr(
    { altNames: [name] },
    await acme.crypto.createPrivateEcdsaKey('P-256'),
  )
  const finished = await client.finalizeOrder(placed, request)
  return { cert: await client.getCertificate(finished), key: String(key) }
}

async function withinTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const why = `the authority was not through after ${ORDER_MS} ms`
    timer = setTimeout(() => reject(new Error(why)), ORDER_MS)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
