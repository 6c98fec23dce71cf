/** What a person sees when the network runs: lines that work as printed. */
import { formatUsd, type NanoUsd } from '../../../core/base/money.ts'
import { homeFolder } from '../shell/home.ts'
import type { Terminal } from '../shell/terminal.ts'

export const DEMO_MODEL = 'bard-3m'

export function banner(
  network: {
    home: string
    url: string
    apiKey: string
    nodes: number
    balanceNanoUsd: NanoUsd
    /** The container engine's name, or in words why there is none that can be used. */
    engine: { readonly name: string } | string
    /** Whether there is a local chain. */
    money: boolean
  },
  { bold, dim }: Pick<Terminal, 'bold' | 'dim'>,
): string {
  const { home, url, apiKey, nodes, balanceNanoUsd, engine, money } = network
  // Another shell does not know this one's BASELOAD_HOME.
  const where = home === homeFolder(undefined, {}) ? '' : ` --home ${home}`
  return `
  ${bold('Baseload is running')}: one gateway, ${nodes} node${nodes === 1 ? '' : 's'}, model ${DEMO_MODEL} (a 3-million-parameter Shakespeare).

  URL      ${bold(`${url}/v1`)}
  key      ${bold(apiKey)}
  balance  $${formatUsd(balanceNanoUsd)} test credit
  leases   ${
    typeof engine === 'string'
      ? `none: ${engine}`
      : `on ${engine.name}; try: npx baseload deploy examples/hello.yaml${where}`
  }
  chain    ${
    money
      ? `a local one with test money, worth nothing; try: npx baseload wallet new${where}, then wallet faucet, then wallet deposit 1`
      : 'none: this network settles in its ledger alone'
  }

  ${dim('# stream with curl')}
  ${curlLine(url, apiKey)}

  ${dim("# the same with the openai package, from this repository's folder")}
  ${openaiLine(url, apiKey)}

  ${dim('# talk')}
  npx baseload chat${where}

  Ctrl-C stops everything. Requests, as they finish:

`
}

const PROMPT = 'ROMEO: But soft, what light'

export const curlLine = (url: string, apiKey: string): string =>
  `curl -sN ${url}/v1/chat/completions -H 'Authorization: Bearer ${apiKey}' -H 'Content-Type: application/json' ` +
  `-d '${JSON.stringify({ model: DEMO_MODEL, stream: true, max_tokens: 64, messages: [{ role: 'user', content: PROMPT }] })}'`

export const openaiLine = (url: string, apiKey: string): string =>
  `node --input-type=module -e 'import OpenAI from "openai"; ` +
  `const openai = new OpenAI({ baseURL: "${url}/v1", apiKey: "${apiKey}" }); ` +
  `const answer = await openai.chat.completions.create({ model: "${DEMO_MODEL}", stream: true, max_tokens: 64, messages: [{ role: "user", content: "${PROMPT}" }] }); ` +
  `for await (const chunk of answer) process.stdout.write(chunk.choices[0]?.delta?.content ?? "")'`
