/** One bridge for each lease, closed in by the firewall before it exists. */
import { readFile } from 'node:fs/promises'
import { Fault, reasonOf } from '../../core/base/refusal.ts'
import type { Context } from './context.ts'
import { ask, askIfThere, askLeniently, askLibpod } from './engine-socket.ts'
import type { LeaseRules } from './firewall-rules.ts'
import { bridgeName, leaseLabels, networkName } from './names.ts'
import { blockText, freeBlocks, gatewayOf, parseBlock, readRoutes, type Block } from './subnet.ts'

/** Another agent or program may take a block between our look and our call; then the next one will do. */
const MAX_TRIES = 8

/** Makes the network, or finds it and sets its rules again. */
export async function ensureNetwork(
  context: Context,
  { lease, epoch }: { lease: string; epoch: number },
): Promise<void> {
  const there = await findNetwork(context, lease)
  if (there !== null) return await context.firewall.open(lease, rulesOf(context, lease, there))
  const blocks = freeBlocks(context.pool, lease, await takenBlocks(context))
  for (const block of blocks.slice(0, MAX_TRIES)) {
    await context.firewall.open(lease, rulesOf(context, lease, block))
    if (await createNetwork(context, { lease, epoch, block })) return
  }
  await context.firewall.close(lease)
  throw new Fault(
    'engine_failed',
    `Lease ${lease} found no free network in ${blockText(context.pool)}; ${blocks.length} blocks of it seemed free.`,
  )
}

/** Tells the firewall, for its next `apply`, of a network that is there. */
export async function recallNetwork(context: Context, lease: string): Promise<void> {
  const there = await findNetwork(context, lease)
  if (there !== null) context.firewall.expect(lease, rulesOf(context, lease, there))
}

export async function removeNetwork(context: Context, lease: string): Promise<void> {
  const network = context.docker.getNetwork(networkName(context.instance, lease))
  await askLeniently(`remove the network of ${lease}`, network.remove())
  await context.firewall.close(lease)
}

async function findNetwork({ docker, instance }: Context, lease: string): Promise<Block | null> {
  const network = docker.getNetwork(networkName(instance, lease))
  const about = await askIfThere(`look at the network of ${lease}`, network.inspect())
  return parseBlock(about?.IPAM?.Config?.[0]?.Subnet ?? '')
}

function rulesOf({ instance, facts }: Context, lease: string, block: Block): LeaseRules {
  return {
    bridge: bridgeName(instance, lease),
    subnet: blockText(block),
    nameServer: facts.quirks.dnsAtGateway ? gatewayOf(block) : null,
  }
}

async function takenBlocks({ docker }: Context): Promise<Block[]> {
  const networks = await ask('list its networks', docker.listNetworks())
  const subnets = networks.flatMap(({ IPAM }) => IPAM?.Config ?? [])
  const routes = readRoutes(await readFile('/proc/net/route', 'utf8').catch(() => ''))
  return [...subnets.flatMap(({ Subnet }) => parseBlock(Subnet ?? '') ?? []), ...routes]
}

type Wanted = { readonly lease: string; readonly epoch: number; readonly block: Block }

/** False when somebody else has the block. */
async function createNetwork(context: Context, wanted: Wanted): Promise<boolean> {
  const what = `make the network of ${wanted.lease}`
  try {
    const { quirks } = context.facts
    await ask(what, quirks.networkByLibpod ? byLibpod(context, wanted) : byDocker(context, wanted))
    return true
  } catch (thrown) {
    if (/overlap|already (being )?used|is used/i.test(reasonOf(thrown))) return false
    throw thrown
  }
}

const byDocker = (
  { docker, instance }: Context,
  { lease, epoch, block }: Wanted,
): Promise<unknown> =>
  docker.createNetwork({
    Name: networkName(instance, lease),
    CheckDuplicate: true,
    Driver: 'bridge',
    EnableIPv6: false,
    IPAM: { Driver: 'default', Config: [{ Subnet: blockText(block), Gateway: gatewayOf(block) }] },
    Options: { 'com.docker.network.bridge.name': bridgeName(instance, lease) },
    Labels: { ...leaseLabels(instance, lease, epoch) },
  })

const byLibpod = (
  { docker, instance }: Context,
  { lease, epoch, block }: Wanted,
): Promise<unknown> =>
  askLibpod(docker, {
    method: 'POST',
    path: '/networks/create',
    body: {
      name: networkName(instance, lease),
      driver: 'bridge',
      network_interface: bridgeName(instance, lease),
      subnets: [{ subnet: blockText(block), gateway: gatewayOf(block) }],
      ipv6_enabled: false,
      dns_enabled: true,
      labels: leaseLabels(instance, lease, epoch),
    },
  })
