/** The IOUs of one debtor on disk: a gateway's key on one contract, and one address of this provider's. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { bytesOf } from '../../core/base/hex.ts'
import { Fault } from '../../core/base/refusal.ts'
import { iouSchema, type Iou } from '../../core/protocol/payout.ts'
import { payoutsTypedData } from '../../io/chain/typed-data.ts'
import { addressOf, secp256k1 } from '../../io/keys/secp256k1.ts'

/** In a node's home. */
export const IOU_FOLDER = 'ious'

const amount = z.string().regex(/^\d{1,30}$/)

export const iouFileSchema = z.strictObject({
  v: z.literal(1),
  ...iouSchema.pick({ chainId: true, payouts: true, gateway: true, provider: true, feeBps: true })
    .shape,
  /** The gateway on the link that told of it last, `gw_…`. */
  via: z.string().max(60),
  /** Where it was dialled. */
  url: z.string().max(2_000),
  /** The best of each epoch, newest first: a challenge of an older root needs one of that epoch or before. */
  ious: z
    .array(
      z.strictObject({
        ...iouSchema.pick({ epoch: true, cumulative: true, signature: true }).shape,
        atMs: z.int(),
      }),
    )
    .min(1),
  /** Units of the first IOU: what was earned before this node kept any. */
  firstCumulative: amount,
  /** What gateways have acknowledged since, less their fee: nano-dollars. */
  acknowledgedNanoUsd: amount,
})
export type IouFile = z.infer<typeof iouFileSchema>
export type KeptIou = IouFile['ious'][number]

export const fileNameOf = (
  iou: Pick<Iou, 'chainId' | 'payouts' | 'gateway' | 'provider'>,
): string => `${iou.chainId}-${iou.payouts}-${iou.gateway}-${iou.provider}.json`

/** Whether the gateway that it names signed it. */
export function isSigned(iou: Iou): boolean {
  const { chainId, payouts, gateway, provider, epoch, cumulative } = iou
  const digest = payoutsTypedData({ chainId, verifyingContract: payouts }).iouDigest({
    gateway,
    provider,
    epoch,
    cumulative: BigInt(cumulative),
  })
  const key = secp256k1.recover(digest, bytesOf(iou.signature))
  return key !== null && addressOf(key) === gateway
}

/** All that a node keeps. Throws Fault `iou_unreadable` for a file that is something else. */
export function readIouFiles(folder: string): IouFile[] {
  let names: string[]
  try {
    names = readdirSync(folder)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw error
  }
  return names
    .filter((name) => name.endsWith('.json'))
    .toSorted()
    .map((name) => {
      const path = join(folder, name)
      try {
        return iouFileSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
      } catch (error) {
        const message = `${path} holds no IOUs that can be read; keep it aside: it may be worth money`
        throw new Fault('iou_unreadable', message, { cause: error })
      }
    })
}

/** Of an IOU file: the one that owes most. */
export function bestIou({ ious }: IouFile, upToEpoch = Number.POSITIVE_INFINITY): KeptIou | null {
  const fitting = ious.filter(({ epoch }) => epoch <= upToEpoch)
  return fitting.reduce<KeptIou | null>(
    (best, one) => (best === null || BigInt(one.cumulative) > BigInt(best.cumulative) ? one : best),
    null,
  )
}
