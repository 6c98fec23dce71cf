import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { edited, PLAIN, refused, serviceOf, taken, unitOf } from './test-sdl.ts'

const GLOBAL = `      - port: 80
        to:
          - global: true
`
/** The file with these items of `expose`, in flow style. */
const expose = (...items: string[]): string =>
  edited([GLOBAL, items.map((item) => `      - ${item}\n`).join('')])
const globally = (rest: string): string => expose(`{ ${rest}, to: [{ global: true }] }`)
const hosts = (list: string): string => globally(`port: 80, accept: ${list}`)
const http = (options: string): string => globally(`port: 80, http_options: { ${options} }`)
const httpOf = (text: string) => serviceOf(text).expose[0]?.http
const ip = (...items: string[]): string => `${expose(...items)}endpoints:\n  myip:\n    kind: ip\n`

describe('expose', () => {
  it('takes ports as numbers from 1 to 65535', () => {
    for (const port of ['80', '80.0', '0x50', '8_080', '65535']) taken(globally(`port: ${port}`))
    for (const port of ['0', '65536', '-1', '"80"', '80.5', '0120', 'http', '', '[80]'])
      assert.match(refused(globally(`port: ${port}`)).path, /port|expose\[0\]/, port)
    assert.match(refused(globally('port: "80"')).message, /without quotes/)
    refused(globally('port: 80, as: 65536'))
    assert.match(taken(globally('port: 80, as: 0')).warned, /no other port/)
  })

  it('tells the ingress from ports of their own', () => {
    assert.deepEqual(unitOf(PLAIN).endpoints, { sharedHttp: 1, randomPort: 0, leasedIp: 0 })
    assert.equal(unitOf(globally('port: 8080, as: 80')).endpoints.sharedHttp, 1)
    assert.equal(unitOf(globally('port: 8080')).endpoints.randomPort, 1)
    assert.equal(unitOf(globally('port: 80, proto: udp')).endpoints.randomPort, 1)
    assert.equal(serviceOf(globally('port: 8080')).expose[0]?.externalPort, 8080)
  })

  it('takes tcp and udp in any case', () => {
    assert.equal(serviceOf(globally('port: 53, proto: UDP')).expose[0]?.proto, 'udp')
    assert.match(taken(globally('port: 53, proto: Udp')).warned, /Console refuses this spelling/)
    assert.match(refused(globally('port: 80, proto: HTTP')).message, /HTTP is tcp/)
  })

  it('leads to services, to the group, or to the world', () => {
    const [first, second, third] = serviceOf(
      expose('{ port: 80, to: [{ global: true }, { service: web }] }', '{ port: 81 }'),
    ).expose
    assert.deepEqual([first?.global, first?.service], [true, null])
    assert.deepEqual([second?.global, second?.service], [false, 'web'])
    assert.deepEqual([third?.global, third?.service, third?.port], [false, null, 81])
    assert.match(refused(expose('{ port: 80, to: { global: true } }')).message, /a list is needed/)
    assert.match(refused(expose('{ port: 80, to: [{ global: "true" }] }')).message, /true or false/)
    assert.match(taken(expose('{ port: 80, to: [{ global: yes }] }')).warned, /read as true/)
    assert.match(
      taken(expose('{ port: 80, global: true, to: [{ global: true }] }')).warned,
      /under `to:`/,
    )
  })

  it('warns when nothing leads to the world, or a port to nobody', () => {
    assert.match(taken(expose('{ port: 80 }')).warned, /nothing can be reached from outside/)
    assert.match(
      taken(expose('{ port: 80, to: [{ service: db }, { global: true }] }')).warned,
      /no service 'db'/,
    )
  })

  it('takes host names once', () => {
    assert.deepEqual(serviceOf(hosts('[a.example.com]')).expose[0]?.hosts, ['a.example.com'])
    assert.match(taken(hosts('[A.example.com]')).warned, /read as a\.example\.com/)
    assert.match(taken(hosts('[a.com, a.com]')).warned, /named twice/)
    assert.match(taken(hosts('')).warned, /empty value is read as none/)
    for (const host of [
      '"*.a.com"',
      'https://a.com',
      'a_b.com',
      '-a.com',
      'a..com',
      'a'.repeat(256),
    ])
      assert.match(refused(hosts(`[${host}]`)).message, /no host name/, host)
    const twice = expose(
      '{ port: 80, accept: [a.com], to: [{ global: true }] }',
      '{ port: 81, accept: [a.com], to: [{ global: true }] }',
    )
    assert.match(refused(twice).message, /one place only/)
    const both = expose('{ port: 80, accept: [a.com], to: [{ global: true }, { service: web }] }')
    assert.match(taken(both).warned, /several `to` entries/)
    assert.deepEqual(serviceOf(both).expose[1]?.hosts, [])
  })

  it('has the defaults and the limits of HTTP options', () => {
    assert.deepEqual(httpOf(PLAIN), {
      maxBodyBytes: 1_048_576,
      readTimeoutMs: 60_000,
      sendTimeoutMs: 60_000,
      nextTries: 3,
      nextTimeoutMs: 0,
      nextCases: ['error', 'timeout'],
      proxyBufferBytes: null,
    })
    assert.equal(httpOf(http('max_body_size: 0'))?.maxBodyBytes, 1_048_576)
    assert.equal(httpOf(http('max_body_size: 104857600'))?.maxBodyBytes, 104_857_600)
    assert.equal(httpOf(http('proxy_buffer_size: 1048576'))?.proxyBufferBytes, 1_048_576)
    assert.deepEqual(httpOf(http('next_cases: ["off"]'))?.nextCases, ['off'])
    assert.match(taken(http('next_cases: [500]')).warned, /in quotes/)
    for (const options of [
      'max_body_size: 104857601',
      'read_timeout: 60001',
      'send_timeout: 60001',
      'proxy_buffer_size: 1048577',
      'next_tries: -1',
      'next_cases: ["off", error]',
      'next_cases: ["501"]',
    ])
      refused(http(options))
    assert.match(
      taken(expose('{ port: 80, to: [{ global: true, http_options: { next_tries: 1 } }] }')).warned,
      /beside `port`/,
    )
  })

  it('joins IP endpoints', () => {
    const text = ip('{ port: 80, to: [{ global: true, ip: myip }] }')
    assert.deepEqual(unitOf(text).endpoints, { sharedHttp: 1, randomPort: 0, leasedIp: 1 })
    assert.equal(serviceOf(text).expose[0]?.ip, 'myip')
    for (const [wrong, why] of [
      [ip('{ port: 80, to: [{ ip: myip }] }'), /always global/],
      [ip('{ port: 80, to: [{ global: true, ip: other }] }'), /no endpoint 'other'/],
      [ip('{ port: 80, to: [{ global: true }] }'), /used by no service/],
      [text.replace('kind: ip', 'kind: port'), /kind of endpoint/],
      [text.replaceAll('myip', 'MyIp'), /name of an endpoint/],
      [text.replaceAll('myip', 'a'), /name of an endpoint/],
      [
        ip(
          '{ port: 80, to: [{ global: true, ip: myip }] }',
          '{ port: 81, as: 80, to: [{ global: true, ip: myip }] }',
        ),
        /two services want port 80\/tcp/,
      ],
    ] as const)
      assert.match(refused(wrong).message, why)
    taken(
      ip(
        '{ port: 80, to: [{ global: true, ip: myip }] }',
        '{ port: 80, proto: udp, to: [{ global: true, ip: myip }] }',
      ),
    )
  })
})
