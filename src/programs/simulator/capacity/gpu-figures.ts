/**
 * What a GPU reads, computes and draws, from its maker's data sheet: GB/s of memory, dense FP16 TFLOPS, board power.
 * From these the simulation reckons an engine's speed; no measurement of a real engine is claimed.
 */
export type GpuFigures = {
  readonly gbPerSecond: number
  readonly teraflops: number
  readonly watts: number
}

const figures = (gbPerSecond: number, teraflops: number, watts: number): GpuFigures => ({
  gbPerSecond,
  teraflops,
  watts,
})

const FIGURES = new Map<string, GpuFigures>([
  ['b200', figures(8000, 2250, 1000)],
  ['h200', figures(4800, 990, 700)],
  ['h100', figures(3350, 990, 700)],
  ['a100', figures(1935, 312, 300)],
  ['l40s', figures(864, 362, 350)],
  ['a40', figures(696, 150, 300)],
  ['a10', figures(600, 125, 150)],
  ['l4', figures(300, 121, 72)],
  ['v100', figures(900, 125, 300)],
  ['rtxpro6000s', figures(1600, 400, 600)],
  ['rtx6000ada', figures(960, 364, 300)],
  ['rtxa6000', figures(768, 155, 300)],
  ['rtxa2000', figures(288, 32, 70)],
  ['rtx5090', figures(1792, 210, 575)],
  ['rtx4090', figures(1008, 165, 450)],
  ['rtx4070sti', figures(672, 88, 285)],
  ['rtx4060ti', figures(288, 44, 165)],
  ['rtx3090', figures(936, 71, 350)],
  ['rtx3080', figures(760, 60, 320)],
  ['rtx3070', figures(448, 41, 220)],
  ['rtx3060ti', figures(448, 32, 200)],
  ['rtx3060', figures(360, 25, 170)],
])
/** A card that nobody listed here is taken for a small one. */
const SMALL = figures(300, 25, 150)

export const figuresOf = (gpu: string): GpuFigures => FIGURES.get(gpu) ?? SMALL

/** An 8-billion-parameter model at about 4.5 bits a weight. */
const MODEL_GB = 4.8
const MODEL_GIGAFLOP_PER_TOKEN = 16
/** Engines reach about so much of what the data sheet says. */
const DECODE_PART = 0.6
const PREFILL_PART = 0.4

/** Milliseconds for one more token of one answer: decoding reads the whole model. */
export const tokenMsOf = (gpu: string): number =>
  (1000 * MODEL_GB) / (DECODE_PART * figuresOf(gpu).gbPerSecond)

/** Milliseconds for one token of the prompt. */
export const promptTokenMsOf = (gpu: string): number =>
  MODEL_GIGAFLOP_PER_TOKEN / (PREFILL_PART * figuresOf(gpu).teraflops)
