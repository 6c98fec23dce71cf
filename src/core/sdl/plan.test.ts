import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { groupSchema } from '../protocol/group.ts'
import { manifestSchema } from '../protocol/manifest.ts'
import { explainSdl } from './explain.ts'
import { edited, PLAIN, refused, taken } from './test-sdl.ts'

/** Two services at two placements; the second service at the second only. */
const TWO = edited(
  [
    'services:\n',
    'services:\n  api:\n    image: api:1\n    expose: [{ port: 3000, to: [{ service: web }] }]\n',
  ],
  [
    '  placement:\n',
    '  placement:\n    east:\n      pricing: { web: { denom: usd/hour, amount: 1 } }\n',
  ],
  [
    'deployment:\n  web:\n',
    'deployment:\n  api:\n    east: { profile: web, count: 3 }\n  web:\n    east: { profile: web, count: 2 }\n',
  ],
)

describe('groups', () => {
  it('are one a placement, sorted, with one unit a service', () => {
    const { groups, manifests } = taken(TWO)
    assert.deepEqual(
      groups.map(({ name }) => name),
      ['anywhere', 'east'],
    )
    assert.deepEqual(
      groups[1]?.units.map(({ id, count }) => [id, count]),
      [
        [1, 3],
        [2, 2],
      ],
    )
    assert.deepEqual(
      manifests[1]?.services.map(({ name, unit }) => [name, unit]),
      [
        ['api', 1],
        ['web', 2],
      ],
    )
  })

  it('are what the wire takes', () => {
    for (const { groups, manifests } of [taken(PLAIN), taken(TWO)]) {
      for (const group of groups) groupSchema.parse(group)
      for (const manifest of manifests) manifestSchema.parse(manifest)
    }
  })

  it('are deployed as the deployment says, or refused', () => {
    for (const [from, to, why] of [
      [
        '    anywhere:\n      profile: web',
        '    elsewhere:\n      profile: web',
        /no placement 'elsewhere'/,
      ],
      ['profile: web', 'profile: db', /no compute profile 'db'/],
      ['deployment:\n  web:', 'deployment:\n  db:', /no service 'db'/],
      ['count: 1', 'count: 1001', /out of bounds/],
      ['count: 1', 'count: many', /whole number/],
      ['      count: 1\n', '', /'count' is missing/],
    ] as const)
      assert.match(refused(edited([from, to])).message, why)
    assert.match(
      refused(PLAIN.replace(/deployment:[^]*/, 'deployment: {}')).message,
      /nothing is deployed/,
    )
  })

  it('warn of services that do not run, and of two denominations', () => {
    const more = edited(['services:\n', 'services:\n  db:\n    image: postgres\n'])
    assert.match(taken(more).warned, /'db' is not under 'deployment'/)
    assert.match(taken(TWO).warned, /one denomination/)
  })

  it('have one kind of TEE', () => {
    const tee = TWO.replace('image: api:1', 'image: api:1\n    params: { tee: cpu-gpu }')
      .replace('image: nginx:1.29', 'image: nginx:1.29\n    params: { tee: cpu }')
      .replace(
        '        memory:',
        '        gpu: { units: 1, attributes: { vendor: { nvidia: } } }\n        memory:',
      )
    assert.match(refused(tee).message, /different kinds of TEE/)
  })
})

describe('explainSdl', () => {
  it('tells groups, resources, endpoints and prices in words', () => {
    assert.equal(
      explainSdl(taken(TWO)),
      `SDL 2.0: 3 services in 2 groups

group anywhere: any node
  web: 1 × nginx:1.29
    each 0.5 CPU, 512 MiB of memory, 1 GiB of default (until it ends)
    reached by URL (port 80)
    each at most $0.5885 an hour, $429.91 a month (1000 uact)
  all together at most $0.5885 an hour, $429.91 a month
  prices: 1,000,000 uact a block; 1 ACT is $1; a month has 429,909 blocks

group east: any node
  api: 3 × api:1
    each 0.5 CPU, 512 MiB of memory, 1 GiB of default (until it ends)
    reached by web at port 3000/tcp
    each at most $1.00 an hour, $730.50 a month (1 usd/hour)
  web: 2 × nginx:1.29
    each 0.5 CPU, 512 MiB of memory, 1 GiB of default (until it ends)
    reached by URL (port 80)
    each at most $1.00 an hour, $730.50 a month (1 usd/hour)
  all together at most $5.00 an hour, $3652.50 a month
  prices: dollars an hour
`,
    )
  })
})
