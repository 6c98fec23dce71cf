// Compares llama.cpp's token ids and log probabilities with PyTorch's in ref.json:
// node compare.mjs ENGINE_FOLDER MODEL.gguf …   (ENGINE_FOLDER: where `npm start` put llama.cpp, e.g. ~/.baseload/engines/llama.cpp-3.22.1)
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const [engineFolder, ...modelPaths] = process.argv.slice(2)
const library = resolve(engineFolder, 'node_modules/node-llama-cpp/dist/index.js')
const { getLlama } = await import(pathToFileURL(library).href)
const references = JSON.parse(readFileSync(new URL('ref.json', import.meta.url), 'utf8'))
const llama = await getLlama({ build: 'never', gpu: false, skipDownload: true })
const exact = { temperature: 1, topK: 0, topP: 1, minP: 0 }

for (const modelPath of modelPaths) {
  const model = await llama.loadModel({ modelPath })
  const context = await model.createContext({ contextSize: 512, sequences: 1, threads: 1 })
  const sequence = context.getSequence()
  for (const reference of references) {
    await sequence.clearHistory()
    const next = { generateNext: { probabilities: true, options: exact } }
    const steps = await sequence.controlledEvaluate([0, ...reference.ids].map((id) => [id, next]))
    console.log(modelPath, compare(model, reference, steps))
  }
  await context.dispose()
  await model.dispose()
}
await llama.dispose()

function compare(model, reference, steps) {
  let worst = 0
  let agreeing = 0
  for (const [position, step] of steps.entries()) {
    const wanted = reference.logprobs[position]
    const { probabilities } = step.next
    for (const [id, p] of probabilities) {
      if (p > 1e-6) worst = Math.max(worst, Math.abs(Math.log(p) - wanted[id]))
    }
    const [likeliest] = probabilities.keys()
    if (likeliest === wanted.indexOf(Math.max(...wanted))) agreeing += 1
  }
  return {
    sameTokens: String(model.tokenize(reference.text, false)) === String(reference.ids),
    positions: steps.length,
    worstLogprobError: worst,
    sameArgmax: agreeing,
  }
}
