/** `--model [name=]source` with `--slots` and prices → entries of the node's `models` setting. */
import { resolve } from 'node:path'
import { EXIT, Failure } from '../shell/failure.ts'
import { textOf, type Flags } from './command.ts'

type ModelFlag = {
  source?: string
  name?: string
  slots?: number
  inputUsdPerMTok?: string
  outputUsdPerMTok?: string
}

/** Throws Failure for a price or slots without the model that they are for. */
export function modelFlags(flags: Flags): ModelFlag[] {
  const { model } = flags
  const [slots, priceIn, priceOut] = ['slots', 'priceIn', 'priceOut'].map((one) =>
    textOf(flags, one),
  )
  const models = Array.isArray(model) ? model.map(String) : []
  const terms = {
    ...(slots === undefined ? {} : { slots: wholeNumber('--slots', slots) }),
    ...(priceIn === undefined ? {} : { inputUsdPerMTok: priceIn }),
    ...(priceOut === undefined ? {} : { outputUsdPerMTok: priceOut }),
  }
  if (models.length === 0 && Object.keys(terms).length > 0)
    throw new Failure(EXIT.usage, '--slots, --price-in and --price-out are terms of a --model', {
      next: 'name the model, too: --model <file.gguf>',
    })
  const named = flags['engine'] === 'openai' ? upstreamModel : fileModel
  return models.map((text) => ({ ...named(text), ...terms }))
}

/** A name has no slash and no colon, so `hf:a/b=c.gguf` and `./a=b.gguf` are sources as a whole. */
function fileModel(text: string): ModelFlag {
  const match = /^([\w.+-]+)=(.+)$/s.exec(text)
  const [, name, source = text] = match ?? []
  return { ...(name === undefined ? {} : { name }), source: absolute(source) }
}

const upstreamModel = (text: string): ModelFlag => ({ name: text })

/** A path is meant from where the command is typed, also when the process later runs elsewhere. */
const absolute = (source: string): string =>
  /^(https?:|hf:)/.test(source) ? source : resolve(source)

function wholeNumber(flag: string, value: string): number {
  if (/^[1-9]\d{0,5}$/.test(value)) return Number(value)
  throw new Failure(EXIT.usage, `${flag} must be a whole number above 0, not '${value}'`)
}
