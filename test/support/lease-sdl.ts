/** SDL files for tests of leases. The image serves `/www` on port 80; nodes have it in two versions. */

export const imageOf = (version: number): string => `localhost/baseload-lease:${version}`

export type SdlPlan = {
  /** Of the image: 1 or 2. */
  readonly version?: number
  readonly env?: readonly string[]
  readonly cpu?: string
  readonly memory?: string
  /** Host names of its own. */
  readonly accept?: readonly string[]
}

/** One service `web` with a page for the world, and a volume at `/data`. */
export const sdlOf = (plan: SdlPlan = {}): string => `
version: "2.0"
services:
  web:
    image: ${imageOf(plan.version ?? 1)}
    env: ${JSON.stringify(plan.env ?? [])}
    expose:
      - port: 80
        accept: ${JSON.stringify(plan.accept ?? [])}
        to: [{ global: true }]
    params: { storage: { data: { mount: /data } } }
profiles:
  compute:
    web:
      resources:
        cpu: { units: ${plan.cpu ?? '0.05'} }
        memory: { size: ${plan.memory ?? '32Mi'} }
        storage:
          - size: 32Mi
          - { name: data, size: 32Mi, attributes: { persistent: true, class: default } }
  placement:
    anywhere:
      pricing:
        web: { denom: usd/hour, amount: 1 }
deployment:
  web:
    anywhere: { profile: web, count: 1 }
`

/** A site for the world and a service that only the site may reach; that one knows its tenant. */
export const PAIR_SDL = `
version: "2.0"
services:
  web:
    image: ${imageOf(1)}
    expose:
      - port: 80
        to: [{ global: true }]
  db:
    image: ${imageOf(1)}
    env: [TENANT=me]
    expose:
      - port: 80
        to: [{ service: web }]
profiles:
  compute:
    small:
      resources:
        cpu: { units: 0.05 }
        memory: { size: 32Mi }
        storage: [{ size: 32Mi }]
  placement:
    anywhere:
      pricing:
        small: { denom: usd/hour, amount: 1 }
deployment:
  web:
    anywhere: { profile: small, count: 1 }
  db:
    anywhere: { profile: small, count: 1 }
`
