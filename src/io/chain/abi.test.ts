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
    const functions = channelsAbi.flatMap((entry) =>
      entry.type === 'function'
        ? [`${entry.name}(${typesOf(entry.inputs)}) → ${typesOf(entry.outputs)}`.trimEnd()]
        : [],
    )
    for (const signature of X402)
      assert.ok(functions.includes(signature), `${signature} is missing`)
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

type Parameter = { readonly type: string; readonly components?: readonly Parameter[] }

function typesOf(parameters: readonly Parameter[]): string {
  return parameters
    .map(({ type, components }) =>
      components ? type.replace('tuple', `(${typesOf(components)})`) : type,
    )
    .join(',')
}
