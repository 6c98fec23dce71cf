import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Fault } from '../../core/base/refusal.ts'
import {
  MAX_SEALED_NODES,
  MAX_SECRETS,
  MAX_SECRETS_BYTES,
  sealedFor,
  secretEnvelopeSchema,
  type SealedSecrets,
  type SecretEnvelope,
  type SecretValues,
} from '../../core/protocol/secrets.ts'
import { ephemeralIdentity } from './identity.ts'
import { ephemeralSealingKey } from './sealed-box.ts'
import {
  isSealingKeyOf,
  openSecrets,
  sealedDeploymentId,
  sealSecrets,
  signSealingKey,
} from './secret-envelope.ts'

const SCOPE = { tenant: 'acct_1', deployment: 'dep_1', group: 'here' }

const aName = fc.stringMatching(/^[A-Z_][A-Z0-9_]{0,20}$/)
const someValues: fc.Arbitrary<SecretValues> = fc
  .uniqueArray(fc.record({ name: aName, value: fc.string({ unit: 'binary' }) }), {
    minLength: 1,
    maxLength: 8,
    selector: ({ name }) => name,
  })
  .map((all) => ({
    v: 1,
    env: all.map((one) => ({ service: 'web', ...one })),
    registry: [{ service: 'web', registry: 'ghcr.io', password: 'hunter2' }],
  }))

describe('a secret envelope', () => {
  it('opens at each node that it was sealed for, to what was sealed', () => {
    const [first, second] = [aNode(), aNode()]
    fc.assert(
      fc.property(someValues, (values) => {
        const envelope = sealSecrets(values, SCOPE, [first.recipient, second.recipient])
        assert.ok(secretEnvelopeSchema.safeParse(envelope).success)
        for (const node of [first, second])
          assert.deepEqual(openSecrets(partOf(envelope, node), SCOPE, node), values)
      }),
      { numRuns: 50 },
    )
  })

  it('stays shut for another node, also with the first one’s part', () => {
    const [owner, thief] = [aNode(), aNode()]
    const envelope = sealSecrets(oneValue('x'), SCOPE, [owner.recipient])
    assert.equal(sealedFor(envelope, thief.node), null)
    const part = partOf(envelope, owner)
    staysShut(() => openSecrets(part, SCOPE, thief))
    staysShut(() => openSecrets(part, SCOPE, { ...thief, node: owner.node }))
    staysShut(() => openSecrets(part, SCOPE, { ...owner, node: thief.node }))
  })

  it('stays shut for another tenant, deployment or group', () => {
    const node = aNode()
    const part = partOf(sealSecrets(oneValue('x'), SCOPE, [node.recipient]), node)
    for (const key of ['tenant', 'deployment', 'group'] as const)
      staysShut(() => openSecrets(part, { ...SCOPE, [key]: 'another' }, node))
    assert.deepEqual(openSecrets(part, SCOPE, node), oneValue('x'))
  })

  it('stays shut when a bit of it is another, wherever', () => {
    const node = aNode()
    const part = partOf(sealSecrets(oneValue('x'), SCOPE, [node.recipient]), node)
    const fields = fc.constantFrom('ciphertext' as const, 'box' as const)
    fc.assert(
      fc.property(fields, fc.nat(), fc.nat(7), (field, at, bit) => {
        const bytes = Buffer.from(part[field], 'base64url')
        const index = at % bytes.length
        bytes[index] = (bytes[index] ?? 0) ^ (1 << bit)
        const tampered = { ...part, [field]: bytes.toString('base64url') }
        staysShut(() => openSecrets(tampered, SCOPE, node))
      }),
      { numRuns: 300 },
    )
    staysShut(() => openSecrets({ ...part, names: ['web.OTHER'] }, SCOPE, node))
    for (const cut of ['', 'AQ', part.ciphertext.slice(0, 20)])
      staysShut(() => openSecrets({ ...part, ciphertext: cut }, SCOPE, node))
  })

  it('cannot be put together of two', () => {
    const node = aNode()
    const [one, other] = ['x', 'y'].map((value) =>
      partOf(sealSecrets(oneValue(value), SCOPE, [node.recipient]), node),
    )
    assert.ok(one && other)
    staysShut(() => openSecrets({ ...one, box: other.box }, SCOPE, node))
  })

  it('takes secrets up to its limit of bytes, and is refused a byte beyond', () => {
    const node = aNode()
    const around = Buffer.byteLength(
      '{"env":[{"name":"TOKEN","service":"web","value":""}],"registry":[],"v":1}',
    )
    const most = oneValue('a'.repeat(MAX_SECRETS_BYTES - around))
    const envelope = sealSecrets(most, SCOPE, [node.recipient])
    assert.ok(secretEnvelopeSchema.safeParse(envelope).success)
    assert.deepEqual(openSecrets(partOf(envelope, node), SCOPE, node), most)
    const more = oneValue('a'.repeat(MAX_SECRETS_BYTES - around + 1))
    isFault('secrets_too_large', () => sealSecrets(more, SCOPE, [node.recipient]))
  })

  it('takes so many secrets and no more, none twice, and not none', () => {
    const { recipient } = aNode()
    const envelope = sealSecrets(many(MAX_SECRETS), SCOPE, [recipient])
    assert.equal(secretEnvelopeSchema.parse(envelope).names.length, MAX_SECRETS)
    isFault('secrets_too_many', () => sealSecrets(many(MAX_SECRETS + 1), SCOPE, [recipient]))
    isFault('secrets_too_many', () => sealSecrets(many(0), SCOPE, [recipient]))
    const twice = { ...many(1), env: [...many(1).env, ...many(1).env] }
    isFault('secrets_invalid', () => sealSecrets(twice, SCOPE, [recipient]))
  })

  it('is sealed for so many nodes and no more', () => {
    const { sealingKey } = aNode().recipient
    const nodes = (count: number) =>
      Array.from({ length: count }, () => ({ node: ephemeralIdentity('node').id, sealingKey }))
    const envelope = sealSecrets(oneValue('x'), SCOPE, nodes(MAX_SEALED_NODES))
    assert.ok(secretEnvelopeSchema.safeParse(envelope).success)
    assert.throws(() => sealSecrets(oneValue('x'), SCOPE, nodes(MAX_SEALED_NODES + 1)), RangeError)
    assert.throws(() => sealSecrets(oneValue('x'), SCOPE, []), RangeError)
    const [id = '', key] = Object.entries(envelope.keys)[0] ?? []
    const more = { ...envelope.keys, [id.replace(/.$/, (last) => (last === '0' ? '1' : '0'))]: key }
    assert.equal(secretEnvelopeSchema.safeParse({ ...envelope, keys: more }).success, false)
    assert.equal(secretEnvelopeSchema.safeParse({ ...envelope, keys: {} }).success, false)
  })

  it('tells of a value neither its text nor much of its length', () => {
    const { recipient } = aNode()
    const [short, long] = ['a', 'a'.repeat(150)].map((value) =>
      sealSecrets(oneValue(value), SCOPE, [recipient]),
    )
    assert.equal(short?.ciphertext.length, long?.ciphertext.length)
    const text = JSON.stringify(sealSecrets(oneValue('correct horse'), SCOPE, [recipient]))
    for (const form of ['utf8', 'base64', 'base64url', 'hex'] as const)
      assert.ok(!text.includes(Buffer.from('correct horse').toString(form)), form)
  })
})

describe('a sealing key', () => {
  it('is believed only with the signature of the node whose id it goes under', () => {
    const [identity, other] = [ephemeralIdentity('node'), ephemeralIdentity('node')]
    const [key, otherKey] = [ephemeralSealingKey(), ephemeralSealingKey()]
    const signed = signSealingKey(identity, key)
    assert.equal(isSealingKeyOf(identity.id, identity.publicKey, signed), true)
    const swapped = { ...signed, key: otherKey.publicKey }
    assert.equal(isSealingKeyOf(identity.id, identity.publicKey, swapped), false)
    // A gateway's own node has its own name.
    const foreign = signSealingKey(other, otherKey)
    assert.equal(isSealingKeyOf(identity.id, other.publicKey, foreign), false)
    assert.equal(isSealingKeyOf(identity.id, identity.publicKey, foreign), false)
    for (const garbage of ['', 'x', 'A'.repeat(86)])
      assert.equal(
        isSealingKeyOf(identity.id, identity.publicKey, { ...signed, signature: garbage }),
        false,
      )
  })
})

describe('the id of a deployment with secrets', () => {
  it('follows from its tenant and nonce, so that nobody else can have it', () => {
    const id = sealedDeploymentId('acct_1', 'nonce')
    assert.match(id, /^dep_[0-9a-z]{24}$/)
    assert.equal(sealedDeploymentId('acct_1', 'nonce'), id)
    assert.notEqual(sealedDeploymentId('acct_2', 'nonce'), id)
    assert.notEqual(sealedDeploymentId('acct_1', 'other'), id)
  })
})

const many = (count: number): SecretValues => ({
  v: 1,
  env: Array.from({ length: count }, (_, i) => ({ service: 'web', name: `V${i}`, value: 'x' })),
  registry: [],
})

const oneValue = (value: string): SecretValues => ({
  v: 1,
  env: [{ service: 'web', name: 'TOKEN', value }],
  registry: [],
})

function aNode() {
  const key = ephemeralSealingKey()
  const node = ephemeralIdentity('node').id
  return { node, key, recipient: { node, sealingKey: key.publicKey } }
}

function partOf(envelope: SecretEnvelope, { node }: { node: string }): SealedSecrets {
  return sealedFor(envelope, node) ?? assert.fail('it was sealed for this node')
}

const staysShut = (open: () => unknown): void => isFault('sealed_box_invalid', open)

function isFault(code: string, work: () => unknown): void {
  assert.throws(work, (error) => error instanceof Fault && error.code === code)
}
