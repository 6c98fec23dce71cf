/** What ends together: a test, or a row of the scorecard. A `TestContext` is one. */
export type Occasion = {
  after(cleanUp: () => unknown): void
  diagnostic(line: string): void
}
