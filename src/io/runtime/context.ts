/** What all parts of one runtime share. */
import type Docker from 'dockerode'
import type { OptionsContext } from './container-options.ts'
import type { Firewall } from './firewall.ts'
import type { PrivateImages } from './private-images.ts'
import type { RuntimeEvent } from './runtime.ts'
import type { Block } from './subnet.ts'

export type Context = OptionsContext & {
  readonly docker: Docker
  readonly firewall: Firewall
  /** Leases' networks are cut from it. */
  readonly pool: Block
  readonly privateImages: PrivateImages
  readonly cdiFolders: readonly string[]
  /** Told in order; must not throw. */
  readonly tell: (event: RuntimeEvent) => void
}
