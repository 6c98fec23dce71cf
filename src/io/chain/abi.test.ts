import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { channelsAbi, channelsBytecode } from './abi/channels.ts'
import { eip3009CollectorAbi, eip3009CollectorBytecode } from './abi/eip3009-collector.ts'
import { jobsAbi, jobsBytecode } from './abi/jobs.ts'
import { leasesAbi, leasesBytecode } from './abi/leases.ts'
import { mockUsdcAbi, mockUsdcBytecode } from './abi/mock-usdc.ts'
import { payoutsAbi, payoutsBytecode } from './abi/payouts.ts'
import { rewardsAbi, rewardsBytecode } from './abi/rewards.ts'
import { stakesAbi, stakesBytecode } from './abi/stakes.ts'
import {
  testIdentityRegistryAbi,
  testIdentityRegistryBytecode,
} from './abi/test-identity-registry.ts'
import {
  testReputationRegistryAbi,
  testReputationRegistryBytecode,
} from './abi/test-reputation-registry.ts'
import {
  testValidationRegistryAbi,
  testValidationRegistryBytecode,
} from './abi/test-validation-registry.ts'

/** EIP-3860: more than this is not deployed. */
const MAX_INIT_CODE_BYTES = 49_152

const contracts = [
  { name: 'channels', abi: channelsAbi, bytecode: channelsBytecode },
  { name: 'eip3009-collector', abi: eip3009CollectorAbi, bytecode: eip3009CollectorBytecode },
  { name: 'jobs', abi: jobsAbi, bytecode: jobsBytecode },
  { name: 'leases', abi: leasesAbi, bytecode: leasesBytecode },
  { name: 'mock-usdc', abi: mockUsdcAbi, bytecode: mockUsdcBytecode },
  { name: 'payouts', abi: payoutsAbi, bytecode: payoutsBytecode },
  { name: 'rewards', abi: rewardsAbi, bytecode: rewardsBytecode },
  { name: 'stakes', abi: stakesAbi, bytecode: stakesBytecode },
  {
    name: 'test-identity-registry',
    abi: testIdentityRegistryAbi,
    bytecode: testIdentityRegistryBytecode,
  },
  {
    name: 'test-reputation-registry',
    abi: testReputationRegistryAbi,
    bytecode: testReputationRegistryBytecode,
  },
  {
    name: 'test-validation-registry',
    abi: testValidationRegistryAbi,
    bytecode: testValidationRegistryBytecode,
  },
]

const CONFIG = '(address,address,address,address,address,uint40,bytes32)'
const CLAIM = `((${CONFIG},uint128),bytes,uint128)`

/** As x402's batch-settlement scheme publishes it; returned values behind the arrow. */
const X402 = [
  'multicall(bytes[]) → bytes[]',
  `deposit(${CONFIG},uint128,address,bytes) →`,
  `claim(${CLAIM}[]) →`,
  `claimWithSignature(${CLAIM}[],bytes) →`,
  'settle(address,address) →',
  `initiateWithdraw(${CONFIG},uint128) →`,
  `finalizeWithdraw(${CONFIG}) →`,
  `refund(${CONFIG},uint128) →`,
  `refundWithSignature(${CONFIG},uint128,uint256,bytes) →`,
  `getChannelId(${CONFIG}) → bytes32`,
  'CHANNEL_CONFIG_TYPEHASH() → bytes32',
  'channels(bytes32) → uint128,uint128',
  'pendingWithdrawals(bytes32) → uint128,uint40',
  'receivers(address,address) → uint128,uint128',
  'getVoucherDigest(bytes32,uint128) → bytes32',
  'getRefundDigest(bytes32,uint256,uint128) → bytes32',
  'refundNonce(bytes32) → uint256',
  `getClaimBatchDigest(${CLAIM}[]) → bytes32`,
]

/** As ERC-8183 writes them, without the optional hook and `optParams`; `createJob` takes our terms besides. */
const ERC_8183 = {
  functions: [
    'setProvider(uint256,address) →',
    'setBudget(uint256,uint256) →',
    'fund(uint256,uint256) →',
    'submit(uint256,bytes32) →',
    'complete(uint256,bytes32) →',
    'reject(uint256,bytes32) →',
    'claimRefund(uint256) →',
  ],
  events: [
    'JobCreated(uint256,address,address,address,uint256)',
    'ProviderSet(uint256,address)',
    'BudgetSet(uint256,uint256)',
    'JobFunded(uint256,address,uint256)',
    'JobSubmitted(uint256,address,bytes32)',
    'JobCompleted(uint256,address,bytes32)',
    'JobRejected(uint256,address,bytes32)',
    'JobExpired(uint256)',
    'PaymentReleased(uint256,address,uint256)',
    'Refunded(uint256,address,uint256)',
  ],
}

/** As the registries that are deployed have them, version 2.0.0; those for local chains must not differ. */
const ERC_8004 = {
  identity: {
    functions: [
      'register() → uint256',
      'register(string) → uint256',
      'register(string,(string,bytes)[]) → uint256',
      'setAgentURI(uint256,string) →',
      'setMetadata(uint256,string,bytes) →',
      'getMetadata(uint256,string) → bytes',
      'getAgentWallet(uint256) → address',
      'isAuthorizedOrOwner(address,uint256) → bool',
    ],
    events: [
      'Registered(uint256,string,address)',
      'MetadataSet(uint256,string,string,bytes)',
      'URIUpdated(uint256,string,address)',
    ],
  },
  reputation: {
    functions: [
      'getIdentityRegistry() → address',
      'giveFeedback(uint256,int128,uint8,string,string,string,string,bytes32) →',
      'revokeFeedback(uint256,uint64) →',
      'appendResponse(uint256,address,uint64,string,bytes32) →',
      'getSummary(uint256,address[],string,string) → uint64,int128,uint8',
      'readFeedback(uint256,address,uint64) → int128,uint8,string,string,bool',
      'getClients(uint256) → address[]',
      'getLastIndex(uint256,address) → uint64',
    ],
    events: [
      'NewFeedback(uint256,address,uint64,int128,uint8,string,string,string,string,string,bytes32)',
      'FeedbackRevoked(uint256,address,uint64)',
      'ResponseAppended(uint256,address,uint64,address,string,bytes32)',
    ],
  },
  validation: {
    functions: [
      'getIdentityRegistry() → address',
      'validationRequest(address,uint256,string,bytes32) →',
      'validationResponse(bytes32,uint8,string,bytes32,string) →',
      'getValidationStatus(bytes32) → address,uint256,uint8,bytes32,string,uint256',
      'getSummary(uint256,address[],string) → uint64,uint8',
      'getAgentValidations(uint256) → bytes32[]',
      'getValidatorRequests(address) → bytes32[]',
    ],
    events: [
      'ValidationRequest(address,uint256,string,bytes32)',
      'ValidationResponse(address,uint256,bytes32,uint8,string,bytes32,string)',
    ],
  },
}

describe('the contracts’ ABIs', () => {
  it('come with bytecode that can be deployed', () => {
    for (const { name, abi, bytecode } of contracts) {
      assert.match(bytecode, /^0x(?:[0-9a-f]{2})+$/, name)
      assert.ok(bytecode.length / 2 - 1 <= MAX_INIT_CODE_BYTES, `${name} is too large`)
      assert.ok(
        abi.some(({ type }) => type === 'function'),
        name,
      )
    }
  })

  it('have every function of x402’s batch-settlement scheme', () => {
    assertHas(channelsAbi, { functions: X402, events: [] })
  })

  it('have ERC-8183’s functions and events', () => {
    assertHas(jobsAbi, ERC_8183)
  })

  it('have ERC-8004’s functions and events', () => {
    assertHas(testIdentityRegistryAbi, ERC_8004.identity)
    assertHas(testReputationRegistryAbi, ERC_8004.reputation)
    assertHas(testValidationRegistryAbi, ERC_8004.validation)
  })

  it('have x402’s event of settling', () => {
    const settled = channelsAbi.find((entry) => entry.type === 'event' && entry.name === 'Settled')
    assert.deepEqual(settled?.inputs, [
      { name: 'receiver', type: 'address', indexed: true },
      { name: 'token', type: 'address', indexed: true },
      { name: 'sender', type: 'address', indexed: true },
      { name: 'amount', type: 'uint128', indexed: false },
    ])
  })
})

type Entry = {
  readonly type: string
  readonly name?: string
  readonly inputs?: readonly Parameter[]
  readonly outputs?: readonly Parameter[]
}

function assertHas(
  abi: readonly Entry[],
  wanted: { readonly functions: readonly string[]; readonly events: readonly string[] },
): void {
  const has = abi.map(({ type, name, inputs, outputs }) => {
    const call = `${type} ${name ?? ''}(${typesOf(inputs ?? [])})`
    return type === 'function' ? `${call} → ${typesOf(outputs ?? [])}`.trimEnd() : call
  })
  for (const signature of wanted.functions)
    assert.ok(has.includes(`function ${signature}`), `${signature} is missing`)
  for (const signature of wanted.events)
    assert.ok(has.includes(`event ${signature}`), `event ${signature} is missing`)
}

type Parameter = { readonly type: string; readonly components?: readonly Parameter[] }

function typesOf(parameters: readonly Parameter[]): string {
  return parameters
    .map(({ type, components }) =>
      components ? type.replace('tuple', `(${typesOf(components)})`) : type,
    )
    .join(',')
}
