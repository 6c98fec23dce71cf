/** The two faces of a settings schema that people meet: command-line options, and `baseload help config <role>`. */
import { Option, type Command } from 'commander'
import type { z } from 'zod'
import { fieldsOf, type Field } from './fields.ts'
import type { Role } from './settings.ts'

/** Adds one option a field; `skip` names those the command itself gives. Secrets are not offered as flags. */
export function addOptions(
  command: Command,
  schema: z.ZodObject,
  skip: readonly string[] = [],
): Command {
  for (const field of fieldsOf(schema)) {
    if (field.secret || skip.includes(field.key)) continue
    command.addOption(optionOf(field))
    if (field.kind === 'boolean' && field.default === true)
      command.addOption(new Option(field.flag.replace('--', '--no-'), 'the opposite').hideHelp())
  }
  return command
}

function optionOf(field: Field): Option {
  const value = {
    boolean: '',
    number: ' <number>',
    list: ' <value>',
    object: ' <json>',
    text: ' <text>',
  }
  const option = new Option(`${field.flag}${value[field.kind]}`, summaryOf(field))
  if (field.kind === 'list')
    option.argParser((text: string, before: unknown) =>
      Array.isArray(before) ? [...before, text] : [text],
    )
  return option
}

/** The first sentence, and the default: the manual has the rest. */
function summaryOf(field: Field): string {
  const [first = ''] = field.description.split(/(?<=[.:;?!])(?<!e\.g\.) /)
  const sentence = first.replace(/[.:;]$/, '')
  const choices = field.choices.length > 0 ? ` (${field.choices.join(', ')})` : ''
  const repeat = field.kind === 'list' ? ' (repeatable)' : ''
  return `${sentence}${choices}${repeat}${defaultText(field)}`
}

const defaultText = (field: Field): string => {
  const { default: value } = field
  if (value === undefined || value === null || value === '') return ''
  if (Array.isArray(value) && value.length === 0) return ''
  return ` [${typeof value === 'string' ? value : JSON.stringify(value)}]`
}

/** Every setting of a role: what it does, its default, where it can be set, the accident it prevents. */
export function manual(role: Role, schema: z.ZodObject, width = 96): string {
  const entries = fieldsOf(schema).map((field) => {
    const from = [...(field.secret ? [] : [field.flag]), ...field.env].join('  ')
    const rows = [`${field.key}${defaultText(field)}`, ...wrap(field.description, width - 4), from]
    if (field.choices.length > 0) rows.splice(-1, 0, `One of: ${field.choices.join(', ')}.`)
    return rows.map((row, index) => (index === 0 ? row : `    ${row}`)).join('\n')
  })
  const head = [
    `Settings of "${role}": flags win over the environment, that over the "${role}" section of`,
    `config.json in the home folder (or the file of --config), that over [the default].`,
  ].join('\n')
  return `${head}\n\n${entries.join('\n\n')}\n`
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(/\s+/)) {
    if (line !== '' && line.length + word.length >= width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
