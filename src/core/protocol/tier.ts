/** Whose word stands behind a node: its own, an auditor's, or the network's. */
export const TIERS = ['community', 'vetted', 'reserve'] as const
export type Tier = (typeof TIERS)[number]
