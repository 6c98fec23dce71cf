import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { detectGpus, runTool, type RunTool, type ToolAnswer } from './gpu-detect.ts'

const XML =
  '<nvidia_smi_log><gpu><product_name>Tesla T4</product_name><fb_memory_usage><total>15360 MiB</total></fb_memory_usage></gpu></nvidia_smi_log>'
const CSV = 'index, name, memory.total [MiB]\n0, Tesla T4, 15360 MiB\n'
/** As ROCm 6.2 tells it, with a warning before. */
const ROCM = `WARNING: AMD GPU device(s) is/are in a low-power state.
{"card0": {"Device Name": "AMD Instinct MI210", "Device ID": "0x740f", "Unique ID": "0x2f048617326b1ea",
"VRAM Total Memory (B)": "68702699520", "PCI Bus": "0000:63:00.0", "Card Series": "AMD Instinct MI210"},
"system": {"Driver version": "6.8.5"}}`
const MISSING: ToolAnswer = { ok: false, problem: null }

describe('detectGpus', () => {
  it('finds none where no driver has brought its tool', async () => {
    assert.deepEqual(await detectGpus(answering({})), { gpus: [], problems: [] })
  })

  it('asks for XML, and for CSV where that cannot be read', async () => {
    const whole = await detectGpus(answering({ '-q': XML }))
    const rest = await detectGpus(answering({ '-q': XML.slice(0, 90), '--query-gpu': CSV }))
    assert.deepEqual(whole.gpus, rest.gpus)
    assert.equal(whole.gpus[0]?.model, 't4')
    const neither = await detectGpus(
      answering({ '-q': 'No devices were found', '--query-gpu': '' }),
    )
    assert.deepEqual(neither, { gpus: [], problems: ['nvidia-smi tells nothing that can be read'] })
  })

  it('asks for the names of slices only where there are some', async () => {
    const sliced = XML.replace(
      '<fb_memory',
      '<mig_mode><current_mig>Enabled</current_mig></mig_mode><mig_devices><mig_device><index>0</index><fb_memory_usage><total>9984 MiB</total></fb_memory_usage></mig_device></mig_devices><fb_memory',
    )
    const list = 'GPU 0: Tesla T4 (UUID: GPU-a)\n  MIG 1g.10gb  Device  0: (UUID: MIG-a)\n'
    const { gpus } = await detectGpus(answering({ '-q': sliced, '-L': list }))
    assert.deepEqual([gpus[0]?.mig, gpus[0]?.uuid, gpus[0]?.flaw], ['1g.10gb', 'MIG-a', null])
  })

  it('finds those of AMD', async () => {
    const { gpus } = await detectGpus(answering({ '--showid': ROCM }))
    assert.deepEqual(gpus, [
      {
        vendor: 'amd',
        model: 'mi210',
        vramBytes: 68_702_699_520,
        interface: 'pcie',
        mig: null,
        index: 0,
        slice: null,
        uuid: '0x2f048617326b1ea',
        busId: '0000:63:00.0',
        driver: '6.8.5',
        cdiNames: ['amd.com/gpu=0', 'amd.com/gpu=0x2f048617326b1ea'],
        flaw: null,
      },
    ])
  })

  it('never throws, and says what a tool that is here did not tell', async () => {
    const broken = await detectGpus(() => Promise.reject(new Error('spawn EAGAIN')))
    assert.deepEqual(broken.gpus, [])
    assert.deepEqual(broken.problems, ['nvidia-smi could not be run', 'rocm-smi could not be run'])
  })

  it('looks at the machine it runs on', { timeout: 20_000 }, async (t) => {
    const { gpus, problems } = await detectGpus()
    t.diagnostic(`${gpus.length} GPUs; problems: ${problems.join('; ') || 'none'}`)
    assert.ok(gpus.every(({ cdiNames }) => cdiNames.length > 0))
  })
})

describe('running a tool', { timeout: 20_000 }, () => {
  it('gives its output, or the first line of why not', async () => {
    assert.deepEqual(await node('console.log(1)', 10_000), { ok: true, text: '1\n' })
    const failed = await node('console.log("no driver\\nx"); process.exit(9)', 10_000)
    assert.deepEqual(failed, { ok: false, problem: 'failed: no driver' })
    assert.deepEqual(await runTool('no-such-tool-here', []), MISSING)
  })

  it('waits for none that hangs', async () => {
    const answer = await node('process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)', 300)
    assert.match(answer.ok ? '' : (answer.problem ?? ''), /^did not answer within 0\.3 s/)
  })
})

const node = (script: string, limitMs?: number) =>
  runTool(process.execPath, ['-e', script], limitMs)

/** A machine whose tools answer to their first option so; other tools it does not have. */
const answering =
  (texts: Readonly<Record<string, string>>): RunTool =>
  (_tool, [option = '']) => {
    const text = texts[option.split('=')[0] ?? '']
    return Promise.resolve(text === undefined ? MISSING : { ok: true, text })
  }
