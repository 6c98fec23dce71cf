/**
 * JSON logs, one line an event, on standard error or into a file. Prompts, answers and keys are never given
 * to it; `REDACTED` is the second lock.
 */
import { pino, destination } from 'pino'

export type LogFields = Readonly<Record<string, unknown>>
export type Logger = {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  child(fields: LogFields): Logger
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

const REDACTED = [
  'apiKey',
  'authorization',
  'key',
  'password',
  'secret',
  'prompt',
  'messages',
  'content',
]

/** Lines leave together, at most this much later: a write for each would cost a request more than its parsing. */
const GATHER = { sync: false, minLength: 8 * 1024, periodicFlush: 100 }

/** `file` null: standard error. */
export function createLogger(level: LogLevel, file: string | null = null): Logger {
  const out =
    file === null
      ? destination({ fd: 2, ...GATHER })
      : destination({ dest: file, mkdir: true, ...GATHER })
  return wrap(
    pino(
      {
        level,
        base: null,
        redact: REDACTED,
        timestamp: () => `,"at":"${new Date().toISOString()}"`,
        formatters: { level: (label) => ({ level: label }) },
        messageKey: 'message',
      },
      out,
    ),
  )
}

/** For tests and libraries' users who want quiet. */
export const silentLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLogger,
}

type PinoLogger = ReturnType<typeof pino>

const wrap = (log: PinoLogger): Logger => ({
  debug: (message, fields) => log.debug(withError(fields), message),
  info: (message, fields) => log.info(withError(fields), message),
  warn: (message, fields) => log.warn(withError(fields), message),
  error: (message, fields) => log.error(withError(fields), message),
  child: (fields) => wrap(log.child(fields)),
})

const NO_FIELDS: LogFields = {}

/** pino prints Errors as {}; under any key, give their text and stack instead. */
function withError(fields: LogFields = NO_FIELDS): LogFields {
  const plain = Object.values(fields).every(
    (value) => typeof value !== 'bigint' && !(value instanceof Error),
  )
  if (plain) return fields
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [
      key,
      value instanceof Error
        ? { message: value.message, stack: value.stack }
        : typeof value === 'bigint'
          ? String(value)
          : value,
    ]),
  )
}
