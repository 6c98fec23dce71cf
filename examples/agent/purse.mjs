// A budget that holds. Every signature that moves money passes here, and is written down before it is made: whatever
// happens to this program, all that it ever signed with one purse is at most its budget.
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'

/** The purse refused to sign. */
export class BudgetReached extends Error {}

const sum = (values) => values.reduce((all, value) => all + BigInt(value), 0n)

export class Purse {
  #folder
  #budget
  #state
  /** Units that only top-ups may take, so that the first deposit leaves room for the job. */
  reserved = 0n

  /** `budget`: units, for all runs with this folder together. Throws while another process has it open. */
  constructor(folder, budget, address) {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    this.#folder = folder
    this.#budget = budget
    this.#lock()
    this.#state = this.#read() ?? { address, ceilings: {}, deposits: [], topUps: [], notes: {} }
    if (this.#state.address !== address)
      throw new Error(`${folder} is the purse of ${this.#state.address}, not of ${address}`)
  }

  /** Signed ceilings and top-ups: the most that can ever be taken. */
  get signed() {
    return (
      sum(Object.values(this.#state.ceilings)) + sum(this.#state.topUps.map(({ units }) => units))
    )
  }

  /** What has left the wallet for channels and accounts, or may still leave it. */
  get moved() {
    return sum([...this.#state.deposits, ...this.#state.topUps].map(({ units }) => units))
  }

  get left() {
    return this.#budget - (this.signed > this.moved ? this.signed : this.moved)
  }

  get deposited() {
    return sum(this.#state.deposits.map(({ units }) => units))
  }

  get toppedUp() {
    return sum(this.#state.topUps.map(({ units }) => units))
  }

  /** What was bought, and what is to be known after a restart; JSON. */
  get notes() {
    return this.#state.notes
  }

  note(changes) {
    Object.assign(this.#state.notes, changes)
    this.#write()
  }

  /** x402's clients sign with this: the wallet's account, behind the budget. */
  get address() {
    return this.#state.address
  }

  signer(account, readContract) {
    return {
      address: account.address,
      signTypedData: async (typed) => {
        this.#promise(typed)
        return await account.signTypedData(typed)
      },
      ...(readContract && { readContract }),
    }
  }

  /** Deposits and top-ups that were signed, and that nobody made in their time, are ours again. */
  async release(isUsed, nowS) {
    const stays = async ({ nonce, validBefore }) => nowS <= validBefore || (await isUsed(nonce))
    for (const list of ['deposits', 'topUps']) {
      const kept = []
      for (const one of this.#state[list]) if (await stays(one)) kept.push(one)
      this.#state[list] = kept
    }
    this.#write()
  }

  close() {
    rmSync(join(this.#folder, 'lock'), { force: true })
  }

  /** Written to disk, or refused; only then is anything signed. */
  #promise({ primaryType, message }) {
    const { ceilings, deposits, topUps } = this.#state
    if (primaryType === 'Voucher') {
      const had = BigInt(ceilings[message.channelId] ?? 0)
      const ceiling = BigInt(message.maxClaimableAmount)
      if (ceiling <= had) return // signed before
      this.#check(this.signed - had + ceiling, ceiling - had)
      ceilings[message.channelId] = String(ceiling)
    } else if (
      primaryType === 'ReceiveWithAuthorization' ||
      primaryType === 'TransferWithAuthorization'
    ) {
      const units = BigInt(message.value)
      const topUp = primaryType === 'TransferWithAuthorization'
      if (topUp) this.#check(this.signed + units, units)
      this.#check(this.moved + units + (topUp ? 0n : this.reserved), units)
      const { nonce } = message
      const entry = { nonce, units: String(units), validBefore: Number(message.validBefore) }
      ;(topUp ? topUps : deposits).push(entry)
    } else throw new Error(`this purse does not sign ${primaryType}`)
    this.#write()
  }

  #check(total, more) {
    if (total <= this.#budget) return
    throw new BudgetReached(`${more} units more would make ${total}; the budget is ${this.#budget}`)
  }

  #read() {
    try {
      return JSON.parse(readFileSync(join(this.#folder, 'purse.json'), 'utf8'))
    } catch (error) {
      if (error.code === 'ENOENT') return null
      throw new Error(`${this.#folder}/purse.json cannot be read: what was spent is not known`, {
        cause: error,
      })
    }
  }

  #write() {
    const path = join(this.#folder, 'purse.json')
    const file = openSync(`${path}.new`, 'w', 0o600)
    writeSync(file, JSON.stringify(this.#state, null, 2))
    fsyncSync(file)
    closeSync(file)
    renameSync(`${path}.new`, path)
    const folder = openSync(this.#folder, 'r')
    fsyncSync(folder)
    closeSync(folder)
  }

  #lock() {
    const path = join(this.#folder, 'lock')
    try {
      const file = openSync(path, 'wx', 0o600)
      writeSync(file, String(process.pid))
      closeSync(file)
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
      const owner = Number(readFileSync(path, 'utf8'))
      if (owner !== process.pid && isAlive(owner))
        throw new Error(`the process ${owner} has the purse ${this.#folder} open`, { cause: error })
      rmSync(path, { force: true })
      this.#lock()
    }
  }
}

function isAlive(pid) {
  if (!(pid > 0)) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}
