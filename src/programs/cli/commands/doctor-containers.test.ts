import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { judgeEngine } from '../../../io/runtime/detect.ts'
import { containerResults, lookAtContainers } from './doctor-containers.ts'
import { findingText } from './doctor-report.ts'

describe('what the doctor says of containers', () => {
  it('names the engine and what keeps containers apart', () => {
    const [result] = containerResults([judge({ DefaultRuntime: 'runsc' })])
    assert.ok(result)
    assert.equal(
      findingText(result),
      '  ✓ containers       docker 27.0.0 at /sock: gVisor (runsc), overlay2, cgroup v2\n',
    )
  })

  it('explains why an engine cannot be sold, and what would help', () => {
    const [result] = containerResults([judge({ Rootless: true, CgroupVersion: '1' })])
    assert.ok(result)
    const text = findingText(result)
    assert.match(text, /^ {2}! containers .*\/sock cannot be used for leases\n/)
    assert.match(text, /because: rootless on cgroup v1: limits of CPU and memory are ignored/)
    assert.match(text, /→ run docker as root/)
  })

  it('says that there is none, or that it does not answer', { timeout: 10_000 }, async () => {
    const [none] = containerResults([])
    assert.match(none?.found ?? '', /neither Docker nor Podman/)
    const [silent] = await lookAtContainers('/nowhere/docker.sock', {})
    assert.equal(silent?.status, 'warn')
    assert.match(silent.cause ?? '', /does not answer/)
  })
})

const judge = (info: object) =>
  judgeEngine(
    '/sock',
    { Version: '27.0.0', Arch: 'amd64', Components: [{ Name: 'Engine' }] },
    { Driver: 'overlay2', CgroupVersion: '2', ...info },
  )
