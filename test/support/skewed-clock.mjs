// `node --import …/skewed-clock.mjs`: the wall clock is off by BASELOAD_TEST_SKEW_MS; by BASELOAD_TEST_SKEW_MS from
// BASELOAD_TEST_SKEW_AFTER_MS on, where that is set. Monotonic time and timers are as they were.
const Real = globalThis.Date
const skewMs = Number(process.env.BASELOAD_TEST_SKEW_MS ?? '0')
const afterMs = Number(process.env.BASELOAD_TEST_SKEW_AFTER_MS ?? '0')
const offsetMs = () => (performance.now() >= afterMs ? skewMs : 0)

class SkewedDate extends Real {
  constructor(...args) {
    if (args.length === 0) super(Real.now() + offsetMs())
    else super(...args)
  }

  static now() {
    return Real.now() + offsetMs()
  }
}
globalThis.Date = SkewedDate
