import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Command } from 'commander'
import { z } from 'zod'
import { gatewayConfig } from '../../gateway/config.ts'
import { nodeConfig } from '../../node/config.ts'
import { clientConfig } from '../shell/client-settings.ts'
import { upConfig } from '../up/up-config.ts'
import { fieldsOf } from './fields.ts'
import { addOptions, manual } from './manual.ts'

describe('the manual of settings', () => {
  it('describes every setting of every role: what it is for, and where it is set', () => {
    const schemas = { up: upConfig, gateway: gatewayConfig, node: nodeConfig, client: clientConfig }
    for (const [role, schema] of Object.entries(schemas)) {
      const fields = fieldsOf(schema)
      assert.ok(fields.length > 0, role)
      for (const field of fields)
        assert.ok(field.description.length > 20, `${role}.${field.key} needs a description`)
    }
  })

  it('shows default, choices, flag and environment name', () => {
    const text = manual('gateway', example)
    assert.match(text, /^timeoutMs \[250\]\n {4}Longest wait, milliseconds\./m)
    assert.match(text, /^ {4}--timeout-ms {2}BASELOAD_TIMEOUT_MS$/m)
    assert.match(text, /One of: a, b\./)
    assert.doesNotMatch(text, /--api-key/)
  })

  it('offers no flag for a secret of the gateway, and names its variables', () => {
    const text = manual('gateway', gatewayConfig)
    const help = addOptions(new Command(), gatewayConfig).helpInformation()
    for (const flag of ['--s3-access-key-id', '--s3-secret-access-key', '--s3-session-token'])
      assert.ok(!text.includes(flag) && !help.includes(flag), flag)
    assert.match(text, /^ {4}BASELOAD_S3_SECRET_ACCESS_KEY {2}AWS_SECRET_ACCESS_KEY$/m)
    assert.match(text, /^ {4}--s3-region {2}BASELOAD_S3_REGION {2}AWS_REGION$/m)
  })

  it('shows the first sentence of each, whole, in a command’s help', () => {
    for (const schema of [gatewayConfig, nodeConfig, clientConfig, upConfig]) {
      const command = addOptions(new Command(), schema)
      for (const { flags, description } of command.options)
        assert.doesNotMatch(description, /e\.g(?!\. \S)/, flags)
    }
    const option = addOptions(new Command(), nodeConfig).options.find(
      ({ long }) => long === '--region',
    )
    assert.equal(option?.description, 'Where the machine is, e.g. eu-de')
  })

  it('makes options that give back what was typed, lists as lists', () => {
    const command = addOptions(new Command().exitOverride(), example)
    command.parse(['--timeout-ms', '9', '--tags', 'x', '--quiet', '--no-loud'], { from: 'user' })
    assert.deepEqual(
      { ...command.opts() },
      { timeoutMs: '9', tags: ['x'], quiet: true, loud: false },
    )
  })

  it('leaves what was not typed undefined, so that the environment can say it', () => {
    const command = addOptions(new Command().exitOverride(), example)
    command.parse([], { from: 'user' })
    assert.deepEqual(
      Object.values(command.opts()).filter((value) => value !== undefined),
      [],
    )
  })
})

const example = z.strictObject({
  timeoutMs: z.number().default(250).describe('Longest wait, milliseconds. Then it gives up.'),
  tags: z.array(z.string()).default([]).describe('Words to find it by.'),
  quiet: z.boolean().default(false).describe('Says nothing.'),
  loud: z.boolean().default(true).describe('Says everything.'),
  mode: z.enum(['a', 'b']).default('a').describe('How it goes about it.'),
  apiKey: z.string().optional().describe('A secret.'),
})
