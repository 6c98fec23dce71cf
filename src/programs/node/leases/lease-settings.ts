/** The settings by which a provider says what containers may have of the machine, and for how much. */
import { isAbsolute } from 'node:path'
import { z } from 'zod'
import { MAX_ATTRIBUTES } from '../../../core/protocol/capacity.ts'
import { priceSheetSchema, type PriceSheet } from '../../../core/protocol/price-sheet.ts'
import { STORAGE_CLASSES } from '../../../core/protocol/resources.ts'

/** About a third of what large clouds take for a small machine; GPUs have to be named to be sold. */
const DEFAULT_PRICES: PriceSheet = {
  per: 'month',
  cpuThread: '3',
  memoryGiB: '0.8',
  storageGiB: {
    ephemeral: '0.02',
    default: '0.03',
    beta1: '0.02',
    beta2: '0.03',
    beta3: '0.04',
  },
  gpu: {},
  port: '0',
  ip: '0',
}

const fraction = z.coerce.number().min(0).max(1)

/** Part of the node's settings. */
export const leaseSettings = {
  leases: z
    .enum(['auto', 'off'])
    .default('auto')
    .describe(
      '`auto` leases out containers where Docker or Podman runs that can keep tenants apart; `off` sells inference only.',
    ),
  runtimeSocket: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      'Socket of the container engine, as in /var/run/docker.sock. Default: DOCKER_HOST, then the usual places.',
    ),
  leaseShare: fraction
    .default(1)
    .describe(
      'Which part of the machine this node leases out, 0 to 1. Several nodes on one machine must not come to more than 1 together, or they sell it twice.',
    ),
  leaseLeaving: z
    .boolean()
    .default(false)
    .describe(
      'The provider wants the machine back: no new leases, and those that run are given the notice that was agreed, so that they move before it ends. Stop the node when none is left.',
    ),
  leaseReserve: fraction
    .default(0.1)
    .describe(
      'Which part of the machine is never leased, 0 to 1: what the system itself needs to stay responsive. Memory that this node uses for inference is kept back beside it.',
    ),
  leasePrices: priceSheetSchema
    .default(DEFAULT_PRICES)
    .describe(
      'Price sheet in USD, as text, `per` month or hour: cpuThread, memoryGiB, storageGiB by class, gpu by model (`h100`, `rtx40*`, `*`), port, ip. What has no price is not sold: a GPU must be named first.',
    ),
  pricingProgram: z
    .string()
    .refine(isAbsolute, 'an absolute path, as in /etc/baseload/price.sh')
    .nullable()
    .default(null)
    .describe(
      "A program of yours that prices each order, by Akash's contract: the order as JSON on standard input, the price in uact a block on standard output; another exit code than 0 is no bid. In the place of leasePrices. Orders wait only a second or so for it.",
    ),
  leaseStorageClasses: z
    .array(z.enum(STORAGE_CLASSES).exclude(['ram']))
    .default(['default'])
    .describe(
      "What the disk under the engine's data may be sold as when it has to outlive its container: default, beta1 (HDD), beta2 (SSD), beta3 (NVMe). All of them come out of the same space.",
    ),
  leaseAttributes: z
    .record(z.string().max(100), z.string().max(100))
    .refine((all) => Object.keys(all).length <= MAX_ATTRIBUTES)
    .default({})
    .describe(
      'What tenants can ask for by name, as in {"host":"akash","organization":"example"}. Public, and not verified.',
    ),
  leaseOnExit: z
    .enum(['keep', 'stop'])
    .default('keep')
    .describe(
      'What becomes of running leases when the agent ends: `keep` lets the containers run on, so that an update of the agent goes unnoticed; `stop` stops them until it is back, as a network that is started by hand and ended with Ctrl-C should.',
    ),
  leaseNoticeSeconds: z.coerce
    .number()
    .int()
    .min(0)
    .max(2_629_800)
    .default(3_600)
    .describe(
      'How long before you end a lease its tenant is told, seconds. A promise: tenants who ask for more skip this node.',
    ),
  leaseEgressMbit: z.coerce
    .number()
    .int()
    .min(0)
    .max(10_000_000)
    .default(100)
    .describe('How fast leases reach the internet, Mbit/s. Told to tenants, not enforced.'),
}
export type LeaseSettings = z.infer<z.ZodObject<typeof leaseSettings>>
