/** The messages of a chat: text only, since no engine here sees, hears or calls tools yet. */
import { isRefusal, refuse, type Refusal } from '../base/refusal.ts'
import { at, invalid, isRecord, missing, unknown, unsupported } from './read-fields.ts'

export type ChatMessage = {
  readonly role: 'system' | 'developer' | 'user' | 'assistant'
  readonly content: string
  readonly name?: string
}

export const MAX_MESSAGES = 4096

export function readMessages(value: unknown): ChatMessage[] | Refusal {
  if (value === undefined) return missing('messages')
  if (!Array.isArray(value)) return invalid('messages', 'an array', value)
  if (value.length === 0)
    return refuse('invalid_value', "'messages' is empty: send at least one message.", {
      param: 'messages',
    })
  if (value.length > MAX_MESSAGES)
    return refuse(
      'invalid_value',
      `'messages' has ${value.length} entries; the limit is ${MAX_MESSAGES}.`,
      { param: 'messages' },
    )
  const messages: ChatMessage[] = []
  for (let i = 0; i < value.length; i++) {
    const message = readMessage(value[i], `messages[${i}]`)
    if (isRefusal(message)) return message
    messages.push(message)
  }
  return messages
}

function readMessage(value: unknown, path: string): ChatMessage | Refusal {
  if (!isRecord(value)) return invalid(path, 'an object', value)
  const { role, name } = value
  if (role === 'tool' || role === 'function')
    return unsupported(`${path}.role`, `'${role}' needs tools, which no engine here offers yet`)
  if (role !== 'system' && role !== 'developer' && role !== 'user' && role !== 'assistant') {
    return invalid(`${path}.role`, "'system', 'developer', 'user' or 'assistant'", role)
  }
  for (const key of ['tool_calls', 'function_call', 'audio'] as const) {
    if (value[key] != null)
      return unsupported(`${path}.${key}`, 'is not offered by any engine here yet')
  }
  for (const key of Object.keys(value)) {
    if (!MESSAGE_FIELDS.has(key)) return unknown(`${path}.${key}`)
  }
  if (name != null && typeof name !== 'string') return invalid(`${path}.name`, 'a string', name)
  const content = readContent(value['content'], `${path}.content`)
  if (isRefusal(content)) return content
  return typeof name === 'string' ? { role, content, name } : { role, content }
}

function readContent(value: unknown, path: string): string | Refusal {
  if (typeof value === 'string') return value
  if (!Array.isArray(value)) return invalid(path, 'a string or an array of text parts', value)
  let text = ''
  for (let i = 0; i < value.length; i++) {
    const part: unknown = value[i]
    if (!isRecord(part)) return invalid(`${path}[${i}]`, 'an object', part)
    if (part['type'] !== 'text')
      return unsupported(
        `${path}[${i}].type`,
        `${at(part['type'])} is not offered: no engine here sees or hears`,
      )
    if (typeof part['text'] !== 'string')
      return invalid(`${path}[${i}].text`, 'a string', part['text'])
    text += part['text']
  }
  return text
}

const MESSAGE_FIELDS = new Set([
  'role',
  'content',
  'name',
  'refusal',
  'tool_calls',
  'function_call',
  'audio',
  'annotations',
])
