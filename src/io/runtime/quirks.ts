/** In what Docker and Podman differ behind the same API. Each flag says what was seen, and where it is answered. */

export type Quirks = {
  /** Podman runs health checks by systemd timers; without systemd they never run unless asked. See `replica-watch.ts`. */
  readonly healthUndriven: boolean
  /** Podman answers a resize with 201, which dockerode takes for a failure. See `exec.ts`. */
  readonly resizeAnswers201: boolean
  /** Podman's default asks for more files and processes than a limited daemon may give, and one limit replaces all. See `container-options.ts`. */
  readonly needsOwnUlimits: boolean
  /** Docker takes the seccomp profile itself, Podman the path of a file. See `container-options.ts`. */
  readonly seccompByPath: boolean
  /** Podman gives a bridge a name of our choice only through its own API. See `lease-network.ts`. */
  readonly networkByLibpod: boolean
  /** Podman's name server listens at the bridge, so the firewall must let that through. See `firewall-rules.ts`. */
  readonly dnsAtGateway: boolean
  /** Podman 4 cannot change limits of a running container: it is replaced. See `lease-plan.ts`. */
  readonly noLiveUpdate: boolean
  /** Docker before 25 has no CDI, and Podman ignores it in this API: `cdi.ts` turns it into plain devices. */
  readonly noCdi: boolean
  readonly logDriver: 'json-file' | 'k8s-file'
}

/** `version` as the engine says it, as in `20.10.24+dfsg1`. */
export function quirksOf(engine: 'docker' | 'podman', version: string): Quirks {
  const podman = engine === 'podman'
  return {
    healthUndriven: podman,
    resizeAnswers201: podman,
    needsOwnUlimits: podman,
    seccompByPath: podman,
    networkByLibpod: podman,
    dnsAtGateway: podman,
    noLiveUpdate: podman,
    noCdi: podman || Number.parseInt(version, 10) < 25,
    logDriver: podman ? 'k8s-file' : 'json-file',
  }
}
