/** `baseload wallet`: a key of one's own, deposits for gateways, and the ways out. What each does is loaded when it is meant. */
import type { Command } from 'commander'
import { addOptions } from '../settings/manual.ts'
import { clientConfig } from '../shell/client-settings.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { describe, describeClient, type Flags, type Shell } from './command.ts'

const HELP = `
Example:
  $ baseload wallet new                          a key, under a password
  $ baseload wallet faucet                       test money, on a local chain
  $ baseload wallet deposit 5                    5 USDC for this gateway
  $ baseload chat                                pays by itself, up to the deposit
  $ baseload wallet withdraw                     the rest comes back at once
  $ baseload wallet exit                         the same when the gateway does not help`

export function walletCommand(command: Command, shell: Shell): Command {
  command.description('A wallet: pay gateways on a chain, and get the rest back')
  command.addHelpText('after', HELP)
  const sub = (name: string): Command => command.command(name)
  keyCommands(sub, shell)
  moneyCommands(sub, shell)
  return command
}

const DEFAULT_NAME = 'main'

type Sub = (name: string) => Command

function keyCommands(sub: Sub, shell: Shell): void {
  const passwordFile = [
    '--password-file <file>',
    'the password; or BASELOAD_WALLET_PASSWORD',
  ] as const
  describe(
    sub('new').argument('[name]', 'what to call it', DEFAULT_NAME),
    'Make a key, and keep it under a password',
    'baseload wallet new',
    'baseload wallet new work --password-file password.txt',
  )
    .option(...passwordFile)
    .action(async (name: string, flags: Flags) => {
      const { newWallet } = await import('./wallet-keys.ts')
      await newWallet(name, flags, shell)
    })
  describe(
    sub('import').argument('[name]', 'what to call it', DEFAULT_NAME),
    'Take a key over: from a prompt, standard input, or a file',
    'baseload wallet import < key.txt',
    'baseload wallet import work --keystore UTC--2026-01-01--0123.json',
  )
    .option(...passwordFile)
    .option('--key-file <file>', 'a private key, 64 digits of hex; mode 0600')
    .option('--keystore <file>', 'a keystore of another program (Web3 Secret Storage 3)')
    .action(async (name: string, flags: Flags) => {
      const { importWallet } = await import('./wallet-keys.ts')
      await importWallet(name, flags, shell)
    })
  describe(sub('list'), 'The wallets of this home', 'baseload wallet list').action(
    async (flags: Flags) => {
      const { showList } = await import('./wallet-keys.ts')
      await showList(flags, shell)
    },
  )
}

function moneyCommands(sub: Sub, shell: Shell): void {
  withRpc(
    describeClient(
      sub('show'),
      'Balances and channels, by the chain, and what the gateway says beside it',
      'baseload wallet show',
      'baseload wallet show --rpc https://node.example --json',
    ),
  ).action(async (flags: Flags) => {
    const { showWallet } = await import('./wallet-show.ts')
    await showWallet(flags, shell)
  })
  withRpc(
    describeClient(
      sub('faucet').argument('[amount]', 'test dollars', '100'),
      'Test money, on a local chain only: worth nothing',
      'baseload wallet faucet',
      'baseload wallet faucet 5 --json',
    ),
  ).action(async (amount: string, flags: Flags) => {
    const { faucet } = await import('./wallet-faucet.ts')
    await faucet(amount, flags, shell)
  })
  withRpc(
    describeClient(
      sub('deposit').argument('<amount>', 'of the token, e.g. 5 or 0.25'),
      'Pay into a channel with the gateway; interrupted, the same command goes on',
      'baseload wallet deposit 5',
      'baseload wallet deposit 0.25 --yes --accept-receiver',
    ),
  )
    .option('--yes', 'do not ask')
    .option(
      '--accept-receiver [address]',
      'agree to a receiver that this wallet has not paid before',
    )
    .option('--approve', 'pay in by approval, also where the token takes signed transfers')
    .option('--new-channel', 'open another channel, also where one is open')
    .action(async (amount: string, flags: Flags) => {
      const { deposit } = await import('./wallet-deposit.ts')
      await deposit(amount, flags, shell)
    })
  describeClient(
    sub('budget').argument('[amount]', 'of the token, or none'),
    'The most that may ever be signed for this gateway; without an amount, shows it',
    'baseload wallet budget 2.50',
    'baseload wallet budget none --at-once 0.50',
  )
    .option('--at-once <amount>', 'the most by which one voucher may raise what is signed')
    .action(async (amount: string | undefined, flags: Flags) => {
      const { setBudget } = await import('./wallet-budget.ts')
      await setBudget(amount, flags, shell)
    })
  withRpc(
    describeClient(
      sub('withdraw'),
      'Close the channels with the gateway; what is unspent comes back at once',
      'baseload wallet withdraw',
    ),
  )
    .option('--channel <id>', 'this one only')
    .action(async (flags: Flags) => {
      const { withdraw } = await import('./wallet-withdraw.ts')
      await withdraw(flags, shell)
    })
  const exit = describe(
    sub('exit'),
    'Leave without the gateway: ask the contract, then take the rest after the delay',
    'baseload wallet exit',
    'baseload wallet exit --finish',
  )
  addOptions(exit, clientConfig, ['url', 'apiKey', 'keyFile', 'timeoutMs'])
  withRpc(exit)
    .option('--channel <id>', 'this one only')
    .option('--finish', 'only take what has waited long enough')
    .option('--wait', 'wait until it can be taken, and take it')
    .action(async (flags: Flags) => {
      const { exitChannels } = await import('./wallet-exit.ts')
      await exitChannels(flags, shell)
    })
}

const withRpc = (command: Command): Command =>
  command.option('--rpc <url>', 'a node of the chain; or BASELOAD_CHAIN_RPC', (text: string) => {
    if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text
    throw new Failure(EXIT.usage, `--rpc takes an http(s) address, not '${text}'`)
  })
