import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  CLOSED_BLOCKS,
  countedBytes,
  ipv6Rule,
  jumpRule,
  leaseChains,
  rulesText,
} from './firewall-rules.ts'
import { bridgeName } from './names.ts'

const first = { bridge: bridgeName('ab12', 'one'), subnet: '10.213.4.0/24', nameServer: null }
const second = {
  bridge: bridgeName('ab12', 'two'),
  subnet: '10.213.5.0/24',
  nameServer: '10.213.5.1',
}

describe('the firewall around leases', () => {
  it('decides in this order: answers to the host, names, the host, their own network, what is not the internet', () => {
    const rules = linesOf(rulesText({ ...plan, leases: [first, second] }))
    const places = [
      '-m conntrack --ctstate ESTABLISHED --ctdir REPLY -j RETURN',
      `-i ${second.bridge} -d 10.213.5.1/32 -p udp --dport 53 -j RETURN`,
      '-m addrtype --dst-type LOCAL -j DROP',
      `-i ${first.bridge} -d 10.213.4.0/24 -j RETURN`,
      '-d 192.168.1.1/32 -p tcp --dport 53 -j RETURN',
      '-d 169.254.0.0/16 -j DROP',
      `-i ${first.bridge} -g ${first.bridge}`,
      '-j DROP',
    ].map((rule) => rules.indexOf(rule))
    assert.ok(!places.includes(-1), String(places))
    assert.deepEqual(
      places,
      places.toSorted((a, b) => a - b),
    )
    for (const block of CLOSED_BLOCKS) assert.ok(rules.includes(`-d ${block} -j DROP`))
  })

  it('opens the name server at the bridge only to the lease that has it', () => {
    const rules = linesOf(rulesText({ ...plan, leases: [first, second] }))
    const open = rules.filter((rule) => rule.includes('10.213.5.1/32'))
    assert.equal(open.length, 2)
    assert.ok(open.every((rule) => rule.startsWith(`-i ${second.bridge} `)))
  })

  it('drops what comes from an interface that it does not know', () => {
    assert.equal(linesOf(rulesText({ ...plan, leases: [] })).at(-1), '-j DROP')
  })

  it('leaves counters of leases that stay, and removes those of leases that went', () => {
    const text = rulesText({
      ...plan,
      leases: [first, second],
      known: [first.bridge, 'blab1299999999'],
    })
    assert.ok(!text.includes(`:${first.bridge} `))
    assert.ok(text.includes(`:${second.bridge} - [0:0]`))
    assert.match(text, /-F blab1299999999\n-X blab1299999999/)
  })

  it('passes over name servers that are no IPv4 address', () => {
    const text = rulesText({ ...plan, leases: [first], nameServers: ['2606:4700::1111'] })
    assert.ok(!text.includes('2606'))
  })

  it('is led into by the interfaces of its own agent, and lets no IPv6 through', () => {
    assert.deepEqual(jumpRule('ab12'), ['PREROUTING', '-i', 'blab12+', '-j', 'BASELOAD-ab12'])
    assert.deepEqual(ipv6Rule('ab12'), ['PREROUTING', '-i', 'blab12+', '-j', 'DROP'])
  })

  it('finds its own chains and what they counted in what was saved', () => {
    const saved = [
      '*mangle',
      ':BASELOAD-ab12 - [0:0]',
      `:${first.bridge} - [0:0]`,
      ':blcd3400000000 - [0:0]',
      `[12:3456] -A ${first.bridge} -j RETURN`,
      'COMMIT',
    ].join('\n')
    assert.deepEqual(leaseChains(saved, 'ab12'), [first.bridge])
    assert.equal(countedBytes(saved, first.bridge), 3456n)
    assert.equal(countedBytes(saved, second.bridge), null)
  })
})

const plan = { instance: 'ab12', nameServers: ['1.1.1.1', '192.168.1.1'], known: [] }

/** The main chain's rules. */
const linesOf = (text: string): string[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('-A BASELOAD-ab12 '))
    .map((line) => line.replace('-A BASELOAD-ab12 ', ''))
