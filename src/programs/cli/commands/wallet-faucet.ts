/** `baseload wallet faucet`: test money from a local chain, worth nothing. */
import { giveTestMoney } from '../../../io/chain/local/faucet.ts'
import { readAccess } from '../shell/client-settings.ts'
import { clientFor, print, type Flags, type Shell } from './command.ts'
import { chooseWallet } from './wallet-choice.ts'
import { amountOf, amountText, chainFor, withFaults } from './wallet-parts.ts'
import { payeeOf, readTerms, rpcFor } from './wallet-terms.ts'

export const faucet = async (amount: string, flags: Flags, shell: Shell): Promise<void> =>
  withFaults(async () => {
    const access = readAccess(flags, shell.env)
    const { origin } = new URL(access.url)
    const wallet = await chooseWallet(flags, shell, origin)
    const terms = await readTerms(clientFor(access, flags, shell))
    const units = amountOf(amount, terms.token)
    const payee = payeeOf(terms, null, { origin, rpcUrl: rpcFor(terms, flags, shell) })
    const chain = await chainFor(flags, shell, payee)
    const { address: to } = wallet
    await giveTestMoney(chain, { token: payee.token.address, to, units })
    const { tokenUnits } = await chain.balances(to, payee.token.address)
    const value = { wallet: wallet.name, address: to, balance_units: String(tokenUnits) }
    await print(
      flags,
      shell.terminal,
      value,
      () =>
        `${wallet.name} has ${amountText(tokenUnits, terms.token)}, and 10 ether for gas: test money, worth nothing\n`,
    )
  })
