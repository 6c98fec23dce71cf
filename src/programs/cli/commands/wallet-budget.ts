/** `baseload wallet budget`: how much may be signed without asking. */
import { channelsOf, payeeAt, samePayee, type Payee } from '../../../io/chain/wallet/book-schema.ts'
import { readAccess } from '../shell/client-settings.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { print, textOf, type Flags, type Shell } from './command.ts'
import { chooseWallet } from './wallet-choice.ts'
import { amountOf, amountText, budgetText, moneyLabel, withFaults } from './wallet-parts.ts'

export const setBudget = async (
  amount: string | undefined,
  flags: Flags,
  shell: Shell,
): Promise<void> =>
  withFaults(async () => {
    const { origin } = new URL(readAccess(flags, shell.env).url)
    const wallet = await chooseWallet(flags, shell, origin)
    const before = payeeAt(await wallet.book.read(), origin)
    if (before === null)
      throw new Failure(EXIT.usage, `wallet '${wallet.name}' does not pay ${origin} yet`, {
        code: 'payee_unknown',
        next: '`baseload wallet deposit <amount>` begins that',
      })
    const atOnce = textOf(flags, 'atOnce')
    const changes: Partial<Payee> = {
      ...(amount === undefined ? {} : { budgetUnits: budgetOf(amount, before) }),
      ...(atOnce === undefined ? {} : { atOnceUnits: amountOf(atOnce, before.token) }),
    }
    const book = await wallet.book.change((old) =>
      Object.keys(changes).length === 0
        ? old
        : {
            ...old,
            payees: old.payees.map((one) =>
              samePayee(one, before) ? { ...one, ...changes } : one,
            ),
          },
    )
    const payee = payeeAt(book, origin) ?? before
    const signed = channelsOf(book, payee).reduce((sum, one) => sum + one.signedUnits, 0n)
    const value = {
      wallet: wallet.name,
      gateway: origin,
      receiver: payee.receiver,
      budget_units: payee.budgetUnits === null ? null : String(payee.budgetUnits),
      signed_units: String(signed),
      at_once_units: String(payee.atOnceUnits),
      test_money: payee.testMoney,
    }
    await print(flags, shell.terminal, value, () => {
      const low = payee.budgetUnits !== null && payee.budgetUnits <= signed
      return (
        `${budgetText(payee, signed)}${moneyLabel(payee.testMoney)}\n` +
        `one voucher raises it by ${amountText(payee.atOnceUnits, payee.token)} at most\n` +
        (low ? 'nothing more will be signed; what is signed stays so\n' : '')
      )
    })
  })

/** `none`: the deposit is the limit. 0 is a budget, too: nothing more is signed. */
const budgetOf = (text: string, { token }: Payee): bigint | null =>
  text === 'none' ? null : /^0+(\.0+)?$/.test(text) ? 0n : amountOf(text, token)
