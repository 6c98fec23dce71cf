/** Secrets as they are given to a command: from files and from the own environment, never on the command line itself. */
import { readFileSync, statSync } from 'node:fs'
import type { Command } from 'commander'
import { reasonOf } from '../../../core/base/refusal.ts'
import { MAX_SECRETS_BYTES, readVariable, registrySecret } from '../../../core/protocol/secrets.ts'
import { EXIT, Failure } from '../shell/failure.ts'
import { collect, type Flags } from './command.ts'

/** By name: `web.DB_PASSWORD`, or `web@registry` for the password of its registry. */
export type GivenSecrets = ReadonlyMap<string, string>

export const withSecretFlags = (command: Command): Command =>
  command
    .option(
      '--secret <service.NAME=@file>',
      'a variable sealed for the nodes, from a file; service@registry=@file for a login (repeatable)',
      collect,
    )
    .option(
      '--secret-env <service.NAME[=VARIABLE]>',
      "the same, from this command's own environment (repeatable)",
      collect,
    )
    .option('--secrets <file>', 'the same, a line each: service.NAME=value; mode 0600')
    .option(
      '--seal-to <node>',
      'seal for this node only; others cannot run it (repeatable)',
      collect,
    )

/** Throws Failure, which never quotes a value. */
export function readSecrets(flags: Flags, env: NodeJS.ProcessEnv): GivenSecrets {
  const given = new Map<string, string>()
  const add = (name: string, value: string): void => {
    if (!isSecretName(name))
      throw usage(`'${name}' names no secret`, 'as in web.DB_PASSWORD, or web@registry')
    if (given.has(name)) throw usage(`${name} is given twice`)
    given.set(name, checked(name, value))
  }
  for (const text of textsOf(flags, 'secret')) add(...fromFile(text))
  for (const text of textsOf(flags, 'secretEnv')) add(...fromEnv(text, env))
  const [file] = textsOf(flags, 'secrets')
  if (file !== undefined) for (const line of linesOf(file)) add(...line)
  return given
}

/** Every text of a flag, given once or more often. */
export function textsOf(flags: Flags, name: string): string[] {
  const value = flags[name]
  const all: unknown[] = Array.isArray(value) ? value : [value]
  return all.filter((one) => typeof one === 'string')
}

export function isSecretName(name: string): boolean {
  const [service = '', rest] = name.split('@', 2)
  if (rest === undefined) return readVariable(name) !== null
  return name === registrySecret(service) && readVariable(`${service}.X`) !== null
}

function fromFile(text: string): [name: string, value: string] {
  const [, name = '', path] = /^([^=]+)=@(.+)$/s.exec(text) ?? []
  if (path !== undefined) return [name, withoutEnding(read(path))]
  const shown = text.split('=', 1)[0] ?? ''
  throw usage(
    `--secret ${shown} needs =@ and a file`,
    `a value on the command line is seen by everyone on this machine; --secret ${shown}=@file, or --secret-env ${shown}`,
  )
}

function fromEnv(text: string, env: NodeJS.ProcessEnv): [name: string, value: string] {
  const [name = '', variable = name.slice(name.indexOf('.') + 1)] = text.split('=', 2)
  const value = env[variable]
  if (value !== undefined) return [name, value]
  throw usage(`--secret-env ${name}: the variable ${variable} is not set`)
}

/** `web.DB_PASSWORD=value`, a line each, taken as it stands; empty lines and those that begin with # are none. */
function linesOf(path: string): [name: string, value: string][] {
  const { mode } = statOf(path)
  if ((mode & 0o077) !== 0)
    throw usage(`${path} can be read by others on this machine`, `chmod 600 ${path}`)
  const lines = read(path).split(/\r?\n/).entries()
  return [...lines].flatMap(([i, line]): [string, string][] => {
    if (/^\s*(#|$)/.test(line)) return []
    const at = line.indexOf('=')
    if (at > 0) return [[line.slice(0, at).trim(), line.slice(at + 1)]]
    throw usage(`${path}:${i + 1} is no line like service.NAME=value`)
  })
}

function read(path: string): string {
  const about = statOf(path)
  if (about.isFile() && about.size > MAX_SECRETS_BYTES) throw tooLarge(path)
  try {
    const bytes = readFileSync(path)
    if (bytes.length > MAX_SECRETS_BYTES) throw tooLarge(path)
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    if (error instanceof Failure) throw error
    const why = error instanceof TypeError ? 'it is not UTF-8 text' : reasonOf(error)
    throw usage(`cannot read ${path}: ${why}`)
  }
}

function statOf(path: string) {
  const about = statSync(path, { throwIfNoEntry: false })
  if (about === undefined) throw usage(`cannot read ${path}: there is no such file`)
  if (about.isDirectory()) throw usage(`cannot read ${path}: it is a folder`)
  return about
}

/** Editors end a file with a line break, and no password has one. */
const withoutEnding = (text: string): string => text.replace(/\r?\n$/, '')

function checked(name: string, value: string): string {
  if (value === '') throw usage(`${name} is empty`)
  if (value.includes('\0')) throw usage(`${name} has a zero byte, which no variable can have`)
  return value
}

const tooLarge = (path: string): Failure =>
  usage(`${path} is larger than ${MAX_SECRETS_BYTES} bytes, the most that is sealed`)

const usage = (message: string, next?: string): Failure =>
  new Failure(EXIT.usage, message, {
    code: 'secret_unusable',
    ...(next === undefined ? {} : { next }),
  })
