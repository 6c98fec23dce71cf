/** For tests: the command line against a real gateway API in this process, over a fake lease service without nodes. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { TestContext } from 'node:test'
import { duplexPair, type Duplex } from 'node:stream'
import { getRequestListener } from '@hono/node-server'
import { encodeExecFrame, EXEC_CHANNEL, ExecDecoder } from '../../../core/protocol/tunnel.ts'
import { createHttpServer } from '../../../io/http/http-server.ts'
import { FakeLeaseService } from '../../gateway/control/fake-lease-service.ts'
import { setupControl } from '../../gateway/control/test-network.ts'
import { createLeaseTunnels } from '../../gateway/lease-tunnels.ts'
import type { TunnelWish } from '../../gateway/leases/lease-service.ts'
import { setup } from '../fake-shell.ts'

export const SDL = 'services:\n  web:\n    image: nginx:1.27\n'

export async function setupDeployments(t: TestContext, env: Record<string, string> = {}) {
  const leases = new FakeLeaseService(Date.now)
  const control = await setupControl({ leases, now: Date.now })
  const { parts, api, alices, alice } = control
  const listener = getRequestListener((req) => api.fetch(req))
  let tunnels = createLeaseTunnels(parts)
  const server = createHttpServer({
    onRequest: (req, res) => void listener(req, res),
    onUpgrade: (...upgrade) => tunnels.upgrade(...upgrade),
  })
  const port = await server.listen({ host: '127.0.0.1', port: 0 })
  const url = `http://127.0.0.1:${port}`
  const cli = setup({ ...env, BASELOAD_API_KEY: alices.secret, BASELOAD_URL: url })
  t.after(async () => {
    cli.close()
    api.close()
    tunnels.close()
    await server.close(0)
  })
  return {
    ...cli,
    leases,
    alice,
    /** As a gateway's restart does: what is open breaks off, what is asked again is served. */
    breakTunnels: () => {
      tunnels.close()
      tunnels = createLeaseTunnels(parts)
    },
    deployed: async (name = 'shop') => {
      const view = await leases.deploy(alice.id, 'key_1', {
        sdl: SDL,
        name,
        rule: 'cheapest',
        secrets: null,
      })
      assert.ok('id' in view)
      leases.set(view.id, { state: 'running' })
      return view.id
    },
    /** Each tunnel from now on: what was wished for, and the node's end. */
    onTunnel: (serve: (far: Duplex, wish: TunnelWish) => unknown) => {
      leases.tunnel = (wish) => {
        const [near, far] = duplexPair()
        // A broken tunnel is broken at both of its ends.
        near.once('close', () => far.destroy())
        void serve(far, wish)
        return Promise.resolve(near)
      }
    },
    /** Waits for a condition that nothing announces. */
    until: async (holds: () => boolean) => {
      while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5))
    },
  }
}

/** The node's end of a shell: its frames as they come. */
export class FarExec {
  readonly #far: Duplex
  readonly frames: { channel: number; payload: string }[] = []

  constructor(far: Duplex) {
    this.#far = far
    const decoder = new ExecDecoder((channel, payload) =>
      this.frames.push({ channel, payload: Buffer.from(payload).toString('latin1') }),
    )
    far.on('data', (chunk: Buffer) => assert.equal(decoder.push(chunk), null))
  }

  out(text: string): void {
    this.#far.write(encodeExecFrame(EXEC_CHANNEL.STDOUT, Buffer.from(text)))
  }

  err(text: string): void {
    this.#far.write(encodeExecFrame(EXEC_CHANNEL.STDERR, Buffer.from(text)))
  }

  exit(code: number | null, reason: string | null = null): void {
    const payload = Buffer.from(JSON.stringify({ code, reason }))
    this.#far.end(encodeExecFrame(EXEC_CHANNEL.EXIT, payload))
  }

  /** The next frame on this channel, once it has come. */
  async next(channel: number): Promise<string> {
    for (;;) {
      const at = this.frames.findIndex((frame) => frame.channel === channel)
      if (at >= 0) return this.frames.splice(at, 1)[0]?.payload ?? ''
      await once(this.#far, 'data')
    }
  }
}
