/** The gateways over this database, and which of them vouch for each other. */
import { DAY, type Millis } from '../../core/base/time.ts'
import type { KinProof } from '../../core/protocol/kin.ts'
import { MAX_KIN } from '../../core/protocol/kin.ts'
import type { GatewayCard } from '../../core/protocol/region.ts'
import type { Database } from './database.ts'

/** One that was not there for so long has no leases left at any node. */
const FORGOTTEN_MS: Millis = DAY

export type GatewayStore = {
  /**
   * Notes that this gateway is there. `strangers`: those for whom it has not vouched yet; `proofs`: by whom it was vouched
   * for.
   */
  meetGateways(
    gateway: string,
    publicKey: string,
    now: Millis,
  ): Promise<{ readonly strangers: readonly string[]; readonly proofs: readonly KinProof[] }>
  vouchFor(gateway: string, kin: string, signature: string): Promise<void>
  /** Notes where nodes find this gateway, and that it is there. */
  showCard(card: GatewayCard, now: Millis): Promise<void>
  /** Of the gateways of this region (null: of those without one) that were there since; by id, at most `MAX_KIN`. */
  cardsOf(region: string | null, since: Millis): Promise<GatewayCard[]>
}

export const gatewaysIn = (database: Database): GatewayStore => ({
  meetGateways: (gateway, publicKey, now) =>
    database.run(async (sql) => {
      await sql`
        insert into gateways (id, public_key, seen_at) values (${gateway}, ${publicKey}, ${now})
        on conflict (id) do update set seen_at = ${now}`
      const since = now - FORGOTTEN_MS
      const strangers = await sql<{ id: string }[]>`
        select id from gateways g where id <> ${gateway} and seen_at > ${since}
          and not exists (select 1 from gateway_kin k where k.gateway = ${gateway} and k.kin = g.id)
        order by seen_at desc limit ${MAX_KIN}`
      const proofs = await sql<KinProof[]>`
        select k.gateway, g.public_key as key, k.signature from gateway_kin k
          join gateways g on g.id = k.gateway
        where k.kin = ${gateway} and g.seen_at > ${since} order by k.gateway limit ${MAX_KIN}`
      return { strangers: strangers.map(({ id }) => id), proofs: [...proofs] }
    }),

  async vouchFor(gateway, kin, signature) {
    await database.run(
      (sql) => sql`
        insert into gateway_kin (gateway, kin, signature) values (${gateway}, ${kin}, ${signature})
        on conflict (gateway, kin) do nothing`,
    )
  },

  async showCard({ gateway, key, url, region, signature }, now) {
    await database.run(
      (sql) => sql`
        insert into gateways (id, public_key, seen_at, url, region, card_signature)
        values (${gateway}, ${key}, ${now}, ${url}, ${region}, ${signature})
        on conflict (id) do update
          set seen_at = ${now}, url = ${url}, region = ${region}, card_signature = ${signature}`,
    )
  },

  cardsOf: (region, since) =>
    database.run(async (sql) => [
      ...(await sql<GatewayCard[]>`
        select id as gateway, public_key as key, url, region, card_signature as signature from gateways
        where card_signature is not null and seen_at > ${since} and coalesce(region, '') = ${region ?? ''}
        order by id limit ${MAX_KIN}`),
    ]),
})
