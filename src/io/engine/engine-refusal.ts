import type { Refusal } from '../../core/base/refusal.ts'

/** Thrown by an engine for a request that it cannot serve and never will: too long, or asking what it cannot do. */
export class EngineRefusal extends Error {
  readonly refusal: Refusal

  constructor(refusal: Refusal) {
    super(refusal.message)
    this.name = 'EngineRefusal'
    this.refusal = refusal
  }
}
