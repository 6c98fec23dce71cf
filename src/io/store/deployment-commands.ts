/**
 * What gateways over one database ask of each other about deployments: a row is written by the one that a tenant asked,
 * taken by the one that looks after the deployment now, answered there, and removed with its answer. One that is taken by
 * a gateway that dies is taken again by the next: each command may be carried out twice.
 */
import { z } from 'zod'
import { REFUSALS, type Refusal } from '../../core/base/refusal.ts'
import type { Millis } from '../../core/base/time.ts'
import { secretEnvelopeSchema } from '../../core/protocol/secrets.ts'
import type { Database } from './database.ts'

const commandSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('close') }),
  z.object({
    kind: z.literal('update'),
    sdl: z.string(),
    /** Sealed; null: those that it has stay. */
    secrets: z.array(secretEnvelopeSchema).nullable(),
  }),
  z.object({ kind: z.literal('accept'), lease: z.string(), node: z.string() }),
])
/** What a tenant changes in a deployment. */
export type DeploymentCommand = z.infer<typeof commandSchema>

const answerSchema = z.object({
  refusal: z
    .object({
      refused: z.literal(true),
      code: z.custom<Refusal['code']>((code) => typeof code === 'string' && code in REFUSALS),
      message: z.string(),
      param: z.string().nullable(),
      retryAfterS: z.number().nullable(),
      details: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
    })
    .nullable(),
})

export type CommandStore = {
  sendCommand(sent: {
    readonly id: string
    readonly deployment: string
    readonly command: DeploymentCommand
    readonly now: Millis
    readonly expiresAt: Millis
  }): Promise<void>
  /** Those for deployments that this gateway looks after, each once. */
  takeCommands(
    gateway: string,
    now: Millis,
  ): Promise<
    {
      readonly id: string
      readonly deployment: string
      readonly account: string
      readonly command: DeploymentCommand
    }[]
  >
  /** Null: it was done. */
  answerCommand(id: string, refusal: Refusal | null): Promise<void>
  /** Null: there is no answer yet. */
  commandAnswer(id: string): Promise<{ readonly refusal: Refusal | null } | null>
  removeCommand(id: string): Promise<void>
}

export const commandsIn = (database: Database): CommandStore => ({
  async sendCommand({ id, deployment, command, now, expiresAt }) {
    await database.run(
      (sql) => sql`
        with old as (delete from deployment_commands where expires_at < ${now})
        insert into deployment_commands (id, deployment, command, expires_at)
        values (${id}, ${deployment}, ${sql.json(command)}, ${expiresAt})
        on conflict (id) do nothing`,
    )
  },

  async takeCommands(gateway, now) {
    const rows = await database.run(
      (sql) => sql<{ id: string; deployment: string; account: string; command: unknown }[]>`
        update deployment_commands c set taken_by = ${gateway} from deployments d
        where d.id = c.deployment and d.gateway = ${gateway} and c.answer is null
          and c.taken_by is distinct from ${gateway} and c.expires_at > ${now}
        returning c.id, c.deployment, d.account, c.command`,
    )
    return rows.map(({ command, ...row }) => ({ ...row, command: commandSchema.parse(command) }))
  },

  async answerCommand(id, refusal) {
    const details = Object.entries(refusal?.details ?? {}).map(([key, value]) => [
      key,
      typeof value === 'bigint' ? String(value) : value,
    ])
    const answer = { refusal: refusal && { ...refusal, details: Object.fromEntries(details) } }
    const checked = answerSchema.parse(answer)
    await database.run(
      (sql) => sql`update deployment_commands set answer = ${sql.json(checked)} where id = ${id}`,
    )
  },

  async commandAnswer(id) {
    const [row] = await database.run(
      (sql) => sql<{ answer: unknown }[]>`
        select answer from deployment_commands where id = ${id} and answer is not null`,
    )
    return row ? answerSchema.parse(row.answer) : null
  },

  async removeCommand(id) {
    await database.run((sql) => sql`delete from deployment_commands where id = ${id}`)
  },
})
