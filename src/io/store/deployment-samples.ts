/** A deployment that looks like a real one, for tests. */
import { rateOf } from '../../core/base/rate.ts'
import type { StoredDeployment } from './deployment-records.ts'
import { randomId } from './samples.ts'

/** A dollar an hour. */
export const HOUR_RATE = String(rateOf(1_000_000_000n, 'hour'))

/** One service on one node, `node_x`, which has it since time 0. */
export function aDeployment(account: string): StoredDeployment {
  const id = randomId('dep')
  const resources = {
    cpuMilli: 500,
    cpuArch: null,
    memoryBytes: 2 ** 29,
    volumes: [],
    gpu: null,
  }
  const endpoints = { sharedHttp: 1, randomPort: 0, leasedIp: 0 }
  return {
    deployment: {
      id,
      account,
      apiKey: 'key_none',
      name: `web-${id.slice(-6)}`,
      rule: 'cheapest',
      sdl: 'version: "2.0"',
      createdAt: 1,
      closedAt: null,
      closeReason: null,
    },
    leases: [
      {
        id: randomId('lease'),
        deployment: id,
        account,
        state: 'running',
        epoch: 1,
        node: 'node_x',
        hold: randomId('hold'),
        billedUntil: 0,
        carry: 0n,
        spentNanoUsd: 0n,
        revision: 1,
        doc: {
          group: {
            name: 'here',
            attributes: {},
            signedBy: { anyOf: [], allOf: [] },
            units: [{ id: 1, resources, count: 1, endpoints, maxRate: HOUR_RATE }],
            minNoticeS: null,
          },
          secrets: null,
          manifest: {
            group: 'here',
            services: [
              {
                name: 'web',
                image: 'hello',
                command: null,
                args: null,
                env: [],
                unit: 1,
                count: 1,
                expose: [],
                mounts: [],
                credentials: null,
                permissions: [],
                tee: null,
              },
            ],
          },
          message: '',
          rate: HOUR_RATE,
          terms: null,
          signature: null,
          ownerEpoch: 1,
          startedAt: null,
          replicas: [],
          avoid: [],
          failedStarts: 0,
          drain: null,
          purse: { status: 'good' },
        },
      },
    ],
  }
}
