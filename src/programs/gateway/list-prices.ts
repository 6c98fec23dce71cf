/** The named cloud prices that bills are compared with, read from the settings. */
import { parseUsd } from '../../core/base/money.ts'
import { Fault } from '../../core/base/refusal.ts'
import type { ListPrice } from '../../core/routing/saving.ts'
import type { ListPriceSetting } from './config.ts'

/** Model id → its list price. Throws a Fault for a price that is not a plain decimal. */
export function readListPrices(
  settings: readonly ListPriceSetting[],
): ReadonlyMap<string, ListPrice> {
  return new Map(settings.map((setting) => [setting.model, readListPrice(setting)]))
}

function readListPrice({
  model,
  inputUsdPerMTok,
  outputUsdPerMTok,
  ...named
}: ListPriceSetting): ListPrice {
  const inputNanoUsdPerMTok = parseUsd(inputUsdPerMTok)
  const outputNanoUsdPerMTok = parseUsd(outputUsdPerMTok)
  if (inputNanoUsdPerMTok === null || outputNanoUsdPerMTok === null) {
    throw new Fault(
      'config_invalid',
      `listPrices for '${model}': prices are dollars per million tokens, e.g. "0.10"`,
    )
  }
  const { provider, product, date, tier } = named
  return { provider, product, date, tier, inputNanoUsdPerMTok, outputNanoUsdPerMTok }
}
