/** For tests: certificates of authorities made up on the spot. */
import { webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'

export type MadeCertificate = { readonly cert: string; readonly key: string }

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

/** Signs itself, so that it is its own root. Valid for a day from `from`, unless told otherwise. */
export async function makeCertificate(
  names: readonly string[],
  { from = Date.now() - 60_000, days = 1 }: { from?: number; days?: number } = {},
): Promise<MadeCertificate> {
  x509.cryptoProvider.set(webcrypto)
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${names[0] ?? 'nobody'}`,
    notBefore: new Date(from),
    notAfter: new Date(from + days * 24 * 60 * 60_000),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.SubjectAlternativeNameExtension(
        names.map((value) => ({ type: isAddress(value) ? 'ip' : 'dns', value })),
      ),
      new x509.BasicConstraintsExtension(true, 0, true),
    ],
  })
  const key = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)
  return {
    cert: `${certificate.toString('pem')}\n`,
    key: `${x509.PemConverter.encode(key, 'PRIVATE KEY')}\n`,
  }
}

const isAddress = (name: string): boolean => /^[\d.]+$/.test(name)
