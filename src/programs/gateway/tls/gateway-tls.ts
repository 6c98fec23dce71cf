/** The gateway's TLS, put together from its settings: the operator's files first, then certificates by ACME. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { Fault } from '../../../core/base/refusal.ts'
import type { Millis } from '../../../core/base/time.ts'
import type { TlsOptions } from '../../../io/http/tls-server.ts'
import type { Logger } from '../../../io/telemetry/logger.ts'
import type { GatewayConfig } from '../config.ts'
import { isPublicName, plainHost, type IngressTable } from '../ingress/ingress-table.ts'
import { createAuthority } from './acme-authority.ts'
import { CertificateFiles } from './certificate-files.ts'
import { CertificateFolder } from './certificate-folder.ts'
import { Certifier } from './certifier.ts'

export type GatewayTls = {
  readonly server: TlsOptions
  /** What an authority hears that asks for this path at the plain port; null: the path is none of its, or not of ours. */
  answer(path: string): string | null
  /** Once the plain port listens: orders what the gateway itself needs. */
  start(): void
  close(): void
}

type Parts = {
  readonly hosts: Pick<IngressTable, 'leaseOf'>
  /** The account whose lease it is. */
  readonly tenantOf: (lease: string) => string | null
  readonly now: () => Millis
  readonly logger: Logger
}

const CHALLENGE_PATH = '/.well-known/acme-challenge/'
const RELOAD_EVERY_MS = 10_000

/** Null: there is none. Throws Fault `config_invalid` or `certificate_invalid`. */
export function openTls(config: GatewayConfig, parts: Parts): GatewayTls | null {
  checkTls(config)
  if (config.tlsPort === null) return null
  const { tlsCert, tlsKey } = config
  const pairs = tlsCert.map((cert, i) => ({ cert, key: tlsKey[i] ?? '' }))
  const files = new CertificateFiles(pairs, parts.logger)
  const acme = config.acme ? openAcme(config, parts) : null
  const own = config.publicUrl === null ? null : plainHost(new URL(config.publicUrl).hostname)
  const ownByAcme = own !== null && isPublicName(own) && files.find(own) === null

  let useByDefault: (() => void) | null = null
  const reload = setInterval(() => {
    if (files.reload()) useByDefault?.()
  }, RELOAD_EVERY_MS)
  reload.unref()

  return {
    server: {
      async contextFor(servername) {
        const name = plainHost(servername)
        const found = files.find(name) ?? (await acme?.certifier.find(name)) ?? null
        return found?.context ?? null
      },
      onFallback(use) {
        useByDefault = () => {
          if (files.first !== null) use(files.first.pem)
        }
        useByDefault()
      },
    },
    answer: (path) =>
      path.startsWith(CHALLENGE_PATH)
        ? (acme?.authority.answer(path.slice(CHALLENGE_PATH.length)) ?? null)
        : null,
    start() {
      if (acme && own !== null && ownByAcme) void acme.certifier.find(own)
    },
    close() {
      clearInterval(reload)
      acme?.certifier.close()
    },
  }
}

/** Its account and certificates are of one authority: a staging one's are no use at the real one. */
function openAcme(config: GatewayConfig, { hosts, tenantOf, now, logger }: Parts) {
  const { acmeDirectory: directory, acmeContact: contact, acmeCa: caFile } = config
  const { hostname } = new URL(directory)
  const digest = createHash('sha256').update(directory).digest('hex').slice(0, 8)
  const folder = new CertificateFolder(join(config.home, 'acme', `${hostname}-${digest}`))
  const authority = createAuthority({ directory, contact, caFile }, folder)
  const own = config.publicUrl === null ? null : plainHost(new URL(config.publicUrl).hostname)
  const certifier = new Certifier({
    authority,
    folder,
    rates: { perHour: config.acmePerHour, perTenantPerHour: config.acmePerTenantPerHour },
    holderOf(name) {
      if (!isPublicName(name)) return null
      if (name === own) return { tenant: null }
      const lease = hosts.leaseOf(name)
      return lease === undefined ? null : { tenant: tenantOf(lease) ?? lease }
    },
    now,
    logger,
  })
  return { authority, certifier }
}

const wrong = (why: string): Fault => new Fault('config_invalid', why)

function checkTls(config: GatewayConfig): void {
  const { tlsPort, tlsCert, tlsKey, tlsRedirect, acme, acmeAgree, acmeDirectory } = config
  if (tlsCert.length !== tlsKey.length)
    throw wrong(
      `tlsCert names ${tlsCert.length} files, tlsKey ${tlsKey.length}: give each certificate its key`,
    )
  if (tlsPort === null) {
    if (acme || tlsRedirect || tlsCert.length > 0)
      throw wrong('tlsPort is missing: tlsCert, tlsRedirect and acme need it, e.g. --tls-port 443')
  } else if (!acme && tlsCert.length === 0)
    throw wrong('tlsPort needs certificates: give tlsCert and tlsKey, or acme')
  if (acme && !acmeAgree)
    throw wrong(
      `acme needs acmeAgree: read the terms of service of ${acmeDirectory}, then set --acme-agree`,
    )
}
