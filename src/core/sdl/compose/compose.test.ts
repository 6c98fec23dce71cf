import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { parse } from 'yaml'
import { taken } from '../test-sdl.ts'
import { sdlToCompose } from './from-sdl.ts'
import { shellWords } from './shell-words.ts'
import { composeToSdl } from './to-sdl.ts'

const COMPOSE = `
services:
  my_app:
    image: me/app:1
    entrypoint: ["/run"]
    command: serve --name "a b"
    environment:
      PRICE: $$5
      TOKEN: \${TOKEN}
      LEVEL: \${LEVEL:-info}
      EMPTY:
    ports: ["80:8080", "127.0.0.1:9000:9000", "53:53/udp"]
    volumes: ["data:/data", "./conf:/etc/conf:ro", "/scratch"]
    shm_size: 64m
    depends_on: { db: { condition: service_healthy } }
    healthcheck: { test: [CMD, "true"] }
    deploy:
      replicas: 2
      resources:
        limits: { cpus: "1.5", memory: 512M }
        reservations:
          devices: [{ driver: nvidia, count: 2, capabilities: [gpu] }]
  db:
    image: postgres:17
    volumes: ["data:/var/lib"]
volumes:
  data:
`

describe('composeToSdl', () => {
  it('carries over images, commands, variables, ports, volumes, limits, GPUs and copies', () => {
    const { manifests, groups } = taken(converted(COMPOSE).text)
    const [app, db] = ['my-app', 'db'].map((name) =>
      manifests[0]?.services.find((service) => service.name === name),
    )
    assert.equal(app?.image, 'me/app:1')
    assert.deepEqual(app?.command, ['/run'])
    assert.deepEqual(app?.args, ['serve', '--name', 'a b'])
    assert.deepEqual(app?.env, ['PRICE=$5', 'TOKEN=${TOKEN}', 'LEVEL=info', 'EMPTY='])
    const ports = app?.expose.map((one) => [one.port, one.externalPort, one.proto, one.global])
    assert.deepEqual(ports, [
      [8080, 80, 'tcp', true],
      [8080, 8080, 'tcp', false],
      [9000, 9000, 'tcp', false],
      [53, 53, 'udp', true],
      [53, 53, 'udp', false],
    ])
    assert.deepEqual(
      app?.mounts.map(({ volume, path }) => `${volume}:${path}`),
      ['data:/data', 'memory:/dev/shm'],
    )
    assert.deepEqual(
      db?.expose.map(({ port, service }) => [port, service]),
      [[5432, 'my-app']],
    )
    const unit = groups[0]?.units.find(({ id }) => id === app?.unit)
    assert.equal(unit?.count, 2)
    assert.equal(unit?.resources.cpuMilli, 1500)
    assert.equal(unit?.resources.memoryBytes, 512 * 2 ** 20)
    assert.equal(unit?.resources.gpu?.units, 2)
  })

  it('says what it leaves behind, and what it made up', () => {
    const { notes } = converted(COMPOSE)
    for (const why of [
      /renamed to my-app/,
      /takes TOKEN from your shell/,
      /its value is not in the file/,
      /local machine only/,
      /folder of your machine/,
      /volume without a name/,
      /'healthcheck'.*cannot be carried over/,
      /usually listens on/,
      /compose has no prices/,
      /the volume data is shared with my_app/,
    ])
      assert.ok(
        notes.some(({ message }) => why.test(message)),
        String(why),
      )
  })

  it('reads the long forms, ranges and lists', () => {
    const { manifests } = taken(
      converted(`
services:
  web:
    image: web
    environment: [A=1]
    ports:
      - { target: 80, published: "8080", protocol: tcp }
      - 3000-3002
    expose: [9000, "80"]
    volumes:
      - { type: volume, source: data, target: /data, read_only: true }
      - { type: tmpfs, target: /tmp/a, tmpfs: { size: 10485760 } }
    tmpfs: /run
    mem_limit: 1g
    cpus: 0.25
    scale: 3
`).text,
    )
    const [web] = manifests[0]?.services ?? []
    assert.deepEqual(
      web?.expose.map(({ port }) => port),
      [80, 3000, 3001, 3002, 9000],
    )
    assert.deepEqual(
      web?.mounts.map(({ path, readOnly }) => [path, readOnly]),
      [
        ['/data', true],
        ['/tmp/a', false],
        ['/run', false],
      ],
    )
    assert.equal(web?.count, 3)
  })

  it('refuses what has no image or no services', () => {
    for (const [text, why] of [
      ['services: { web: { build: . } }', /build the image and push it/],
      ['services: {}', /no service to convert/],
      ['web: {}', /has `services`/],
      ['services: { web: { image: a, ports: ["99999:80", "80:0", x] } }', /no port/],
      ['- a', /a mapping is needed/],
      ['a: [', /flow/],
    ] as const) {
      const conversion = composeToSdl(text, 'compose.yaml')
      assert.ok('problems' in conversion, text)
      assert.ok(
        conversion.problems.some(({ message }) => why.test(message)),
        text,
      )
    }
  })
})

describe('sdlToCompose', () => {
  it('writes services, ports, volumes, limits and GPUs', () => {
    const { text } = sdlToCompose(taken(example('gpu.yaml')))
    assert.deepEqual(parse(text), {
      services: {
        vllm: {
          image: 'vllm/vllm-openai:v0.10.2',
          command: ['--model=Qwen/Qwen3-4B', '--max-model-len=8192'],
          environment: ['HF_HOME=/models'],
          ports: ['80:8000'],
          volumes: ['vllm-models:/models'],
          shm_size: '4096m',
          restart: 'always',
          deploy: {
            resources: {
              limits: { cpus: '4', memory: '16384m' },
              reservations: { devices: [{ count: 1, capabilities: ['gpu'] }] },
            },
          },
        },
      },
      volumes: { 'vllm-models': {} },
    })
  })

  it('says what compose has no place for', () => {
    const { notes } = sdlToCompose(taken(example('two-services.yaml')))
    assert.ok(notes.includes('wordpress: http_options are left out'))
    assert.ok(notes.includes("placement 'anywhere': its prices are left out"))
  })

  it('keeps dollars and empty variables as SDL means them', () => {
    const sdl = taken(example('hello.yaml').replace('WHOAMI_PORT_NUMBER=8080', 'A=$B\n      - C'))
    assert.deepEqual(parse(sdlToCompose(sdl).text).services.hello.environment, ['A=$$B', 'C='])
  })

  it('comes back as the same services', () => {
    for (const name of ['hello.yaml', 'two-services.yaml', 'gpu.yaml']) {
      const sdl = taken(example(name))
      const again = taken(converted(sdlToCompose(sdl).text).text)
      const essence = ({ manifests }: typeof sdl) =>
        manifests[0]?.services.map((one) => [one.name, one.image, one.args, one.env, one.count])
      assert.deepEqual(essence(again), essence(sdl))
    }
  })
})

describe('shellWords', () => {
  it('cuts as a shell does', () => {
    assert.deepEqual(shellWords(`sh -c "echo \\"hi\\" $A" 'a b'c d\\ e ""`), [
      'sh',
      '-c',
      'echo "hi" $A',
      'a bc',
      'd e',
      '',
    ])
    assert.deepEqual(shellWords('  '), [])
    assert.equal(shellWords('"'.repeat(50_001)).length, 1)
  })
})

function converted(text: string) {
  const conversion = composeToSdl(text, 'compose.yaml')
  if ('problems' in conversion) assert.fail(JSON.stringify(conversion.problems))
  return conversion
}

const example = (name: string): string =>
  readFileSync(new URL(`../../../../examples/${name}`, import.meta.url), 'utf8')
