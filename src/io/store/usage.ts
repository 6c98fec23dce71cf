/** What was used: by the day for the bill, by the attempt for the log. */
import type { Database } from './database.ts'
import type { Store, Usage, UsageSummary } from './store.ts'

/** A page of a log, not an export. */
const MAX_RECENT = 1000

export type UsageRow = {
  readonly attempt: string
  readonly request: string
  readonly account: string
  readonly api_key: string
  readonly node: string
  readonly model: string
  readonly api: Usage['api']
  readonly billed_input_tokens: number
  readonly output_tokens: number
  readonly nano_usd: bigint
  readonly hold: string | null
  readonly started_at: bigint
  readonly finished_at: bigint
  readonly witness: Usage['witness']
}

export const usageIn = (database: Database): Pick<Store, 'usage' | 'recentUsage'> => ({
  async usage(account, since, until) {
    const rows = await database.run(
      (sql) => sql<UsageSummary[]>`
        select model, node, to_char(to_timestamp(finished_at / 1000) at time zone 'UTC', 'YYYY-MM-DD') as day,
          count(distinct request)::float8 as requests, sum(billed_input_tokens)::float8 as "inputTokens",
          sum(output_tokens)::float8 as "outputTokens", sum(nano_usd)::bigint as "nanoUsd"
        from usage where account = ${account} and finished_at >= ${since} and finished_at < ${until}
        group by model, node, day order by day, model, node`,
    )
    return [...rows]
  },

  async recentUsage(account, limit) {
    const rows = await database.run(
      (sql) => sql<UsageRow[]>`
        select * from usage where account = ${account}
        order by finished_at desc, attempt limit ${Math.min(limit, MAX_RECENT)}`,
    )
    return rows.map(usageOf)
  },
})

export const usageOf = (row: UsageRow): Usage => ({
  attempt: row.attempt,
  request: row.request,
  account: row.account,
  apiKey: row.api_key,
  node: row.node,
  model: row.model,
  api: row.api,
  billedInputTokens: row.billed_input_tokens,
  outputTokens: row.output_tokens,
  nanoUsd: row.nano_usd,
  hold: row.hold,
  startedAt: Number(row.started_at),
  finishedAt: Number(row.finished_at),
  witness: row.witness,
})
