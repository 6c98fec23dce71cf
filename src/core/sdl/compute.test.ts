import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { edited, PLAIN, refused, serviceOf, taken, unitOf } from './test-sdl.ts'

const GIB = 2 ** 30
const units = (text: string) => edited(['units: 0.5', `units: ${text}`])
const memory = (text: string) => edited(['size: 512Mi', `size: ${text}`])
const storage = (text: string) => edited(['storage:\n          - size: 1Gi', `storage: ${text}`])
const gpu = (text: string) => edited(['        memory:', `        gpu: ${text}\n        memory:`])
const mounted = (volume: string, mount = '/data') =>
  [
    '    expose:',
    `    params:\n      storage:\n        ${volume}:\n          mount: ${mount}\n    expose:`,
  ] as const
/** A second volume, `data`, with these attributes. */
const attributes = (text: string) =>
  storage(`[{ size: 1Gi }, { name: data, size: 5Gi, attributes: ${text} }]`)
const models = (list: string) => gpu(`{ units: 1, attributes: { vendor: { nvidia: ${list} } } }`)
const anyOf = (text: string) => unitOf(text).resources.gpu?.anyOf

describe('CPU and memory', () => {
  it('reads CPUs as numbers and as thousandths', () => {
    for (const [text, milli] of [
      ['0.5', 500],
      ['"500m"', 500],
      ['2', 2000],
      ['.25', 250],
      ['0.0123', 12],
      ['1e1', 10_000],
      ['384', 384_000],
    ] as const)
      assert.equal(unitOf(units(text)).resources.cpuMilli, milli, text)
    assert.match(taken(units('500M')).warned, /read as 500m/)
    for (const text of ['0', '9m', '384001m', '-1', '1.5m', 'two', '[16]', 'NaN', '1cpu', ''])
      assert.match(refused(units(text)).path, /cpu/, text)
  })

  it('knows one attribute of a CPU', () => {
    const arch = units('1\n          attributes: { arch: arm64 }')
    assert.equal(unitOf(arch).resources.cpuArch, 'arm64')
    refused(units('1\n          attributes: { vendor: intel }'))
    refused(units('1\n          cores: 2'))
  })

  it('reads sizes in the spelling of either parser', () => {
    for (const [text, bytes, warned] of [
      ['512Mi', 512 * 2 ** 20, false],
      ['1.5Gi', 1.5 * GIB, false],
      ['1G', 1e9, false],
      ['1073741824', GIB, false],
      ['4GB', 4e9, true],
      ['15Gb', 15e9, true],
      ['1gi', GIB, true],
      ['2GiB', 2 * GIB, true],
      ['1500000K', 1.5e9, true],
    ] as const) {
      const { groups, warned: said } = taken(memory(text))
      assert.equal(groups[0]?.units[0]?.resources.memoryBytes, bytes, text)
      assert.equal(/read as .*CLI refuses this spelling/.test(said), warned, text)
    }
    for (const text of ['512Mx', '1 Gi', '-1Gi', 'Gi', 'inf', '0x10', '1023Ki', '3Ti', '', '{}'])
      assert.match(refused(memory(text)).path, /memory/, text)
    assert.match(refused(memory('3Ti')).allowed ?? '', /1 MiB to 2 TiB/)
  })

  it('needs CPU, memory and storage', () => {
    for (const key of ['cpu', 'memory', 'storage'])
      assert.match(
        refused(PLAIN.replace(`        ${key}:\n`, `        x${key}:\n`)).message,
        new RegExp(`'${key}' is missing`),
      )
  })

  it('keeps a group within what the chain takes', () => {
    const many = units('384').replace('count: 1', 'count: 51')
    assert.match(refused(many).message, /too much CPU/)
  })
})

describe('storage', () => {
  it('is one volume or a list, in the order of Akash: small ones first', () => {
    assert.deepEqual(unitOf(storage('{ size: 2Gi }')).resources.volumes, [
      { name: 'default', bytes: 2 * GIB, persistent: false, class: 'default' },
    ])
    const two = unitOf(storage('[{ name: big, size: 2Gi }, { size: 1Gi }]')).resources.volumes
    assert.deepEqual(
      two.map(({ name }) => name),
      ['default', 'big'],
    )
    for (const text of [
      '512Mi',
      '[]',
      '{}',
      '[{ size: 4Mi }]',
      '[{ size: 33Ti }]',
      '[{ size: 1Gi }, { size: 2Gi }]',
    ])
      refused(storage(text))
    const five = Array.from({ length: 5 }, (_, i) => `{ name: v${i}, size: 1Gi }`).join(', ')
    assert.match(taken(storage(`[${five}]`)).warned, /decline more than 4/)
  })

  it('has classes, persistent ones and memory', () => {
    const volume = (text: string, mount = true) =>
      unitOf(mount ? attributes(text).replace(...mounted('data')) : attributes(text)).resources
        .volumes[1]
    assert.equal(volume('{ persistent: true, class: beta3 }')?.class, 'beta3')
    assert.equal(volume('{ persistent: "true", class: beta3 }')?.persistent, true)
    assert.equal(volume('{ persistent: true }')?.class, 'default')
    assert.equal(volume('{ class: ram }', false)?.class, 'ram')
    assert.equal(volume('', false)?.persistent, false)
    assert.match(taken(attributes('{ class: ram }')).warned, /Console wants both/)
    for (const text of [
      '{ class: ram, persistent: true }',
      '{ class: beta2 }',
      '{ class: beta2, persistent: false }',
      '{ class: ssd, persistent: true }',
      '{ persistent: maybe, class: beta2 }',
      '{ speed: fast }',
    ])
      assert.match(refused(attributes(text)).path, /attributes/, text)
    assert.match(
      refused(attributes('{ persistent: true, class: beta2 }')).message,
      /mounted nowhere/,
    )
  })

  it('mounts volumes once, at absolute paths', () => {
    const two = storage('[{ size: 1Gi }, { name: data, size: 5Gi }]')
    assert.deepEqual(serviceOf(two.replace(...mounted('data'))).mounts, [
      { volume: 'data', path: '/data', readOnly: false },
    ])
    assert.match(refused(two.replace(...mounted('other'))).message, /no volume 'other'/)
    assert.match(refused(two.replace(...mounted('data', 'data'))).message, /absolute path/)
    const [from, to] = mounted('data')
    const twice = to.replace('    expose:', '        default:\n          mount: /data\n    expose:')
    assert.match(refused(two.replace(from, twice)).message, /mounted there already/)
  })

  it('takes the name of a volume that stands outside of a list, as the Console does', () => {
    const single = storage('{ name: db_data, size: 5Gi }')
    const { groups, warned } = taken(single.replace(...mounted('db_data')))
    assert.equal(groups[0]?.units[0]?.resources.volumes[0]?.name, 'db_data')
    assert.match(warned, /CLI calls a volume that stands outside of a list 'default'/)
    assert.equal(
      unitOf(single.replace(...mounted('default'))).resources.volumes[0]?.name,
      'default',
    )
    refused(single.replace(...mounted('data')))
  })

  it('warns of a persistent volume that is mounted nowhere while another is', () => {
    const text = storage(
      '[{ size: 1Gi, attributes: { persistent: true, class: beta3 } }, { name: data, size: 5Gi }]',
    ).replace(...mounted('data'))
    assert.match(taken(text).warned, /'default' is mounted nowhere/)
  })
})

describe('GPUs', () => {
  const none = { vendor: 'nvidia', model: null, ramBytes: null, interface: null }

  it('are any of a list, or any of a vendor', () => {
    assert.deepEqual(
      anyOf(models('[{ model: a100, ram: 80Gi, interface: sxm }, { model: h100 }]')),
      [
        { vendor: 'nvidia', model: 'a100', ramBytes: 80 * GIB, interface: 'sxm' },
        { ...none, model: 'h100' },
      ],
    )
    assert.deepEqual(anyOf(models('null')), [none])
    assert.deepEqual(anyOf(models('[{ model: "*" }]')), [none])
    assert.equal(unitOf(PLAIN).resources.gpu, null)
    assert.equal(unitOf(gpu('{ units: 0 }')).resources.gpu, null)
    assert.equal(
      unitOf(gpu('{ units: "2", attributes: { vendor: { nvidia: } } }')).resources.gpu?.units,
      2,
    )
  })

  it('are understood where Akash stumbles, with a warning', () => {
    for (const [list, warned] of [
      ['[{ model: RTX4090 }]', /read as rtx4090/],
      ['[{ model: 4000 }]', /in quotes/],
      ['[{ ram: 24Gi }]', /any will do here/],
      ['[{ model: h100, ram: 80GB }]', /read as 80Gi/],
      ['[{ model: h100 }, { model: h100 }]', /named twice/],
    ] as const)
      assert.match(taken(models(list)).warned, warned, list)
    assert.equal(anyOf(models('[{ model: h100, ram: 80GB }]'))?.[0]?.ramBytes, 80 * GIB)
    const amd = gpu('{ units: 1, attributes: { vendor: { amd: [{ model: mi300x }] } } }')
    assert.deepEqual(anyOf(amd), [{ ...none, vendor: 'amd', model: 'mi300x' }])
    assert.match(taken(amd).warned, /refuses AMD/)
  })

  it('need a number, a vendor and known attributes', () => {
    for (const text of [
      '{ units: 25, attributes: { vendor: { nvidia: } } }',
      '{ units: 1.5, attributes: { vendor: { nvidia: } } }',
      '{ units: 1 }',
      '{ units: 1, attributes: {} }',
      '{ units: 1, attributes: { vendor: {} } }',
      '{ units: 1, attributes: { vendor: { intel: } } }',
      '{ units: 0, attributes: { vendor: { nvidia: } } }',
      '{ attributes: { vendor: { nvidia: } } }',
      '{ units: 1, count: 2, attributes: { vendor: { nvidia: } } }',
    ])
      assert.match(refused(gpu(text)).path, /gpu/, text)
    for (const list of [
      '[{ model: a b }]',
      '[{ model: h100, ram: much }]',
      '[{ interface: nvlink }]',
      '[h100]',
    ])
      assert.match(refused(models(list)).path, /gpu/, list)
  })
})
