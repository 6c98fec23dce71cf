/** For tests: a file that both of Akash's parsers take, and what becomes of it when one thing in it changes. */
import type { Remark } from './report.ts'
import { readSdl, type Sdl } from './sdl.ts'

export const PLAIN = `version: "2.0"
services:
  web:
    image: nginx:1.29
    expose:
      - port: 80
        to:
          - global: true
profiles:
  compute:
    web:
      resources:
        cpu:
          units: 0.5
        memory:
          size: 512Mi
        storage:
          - size: 1Gi
  placement:
    anywhere:
      pricing:
        web:
          denom: uact
          amount: 1000
deployment:
  web:
    anywhere:
      profile: web
      count: 1
`

/** `PLAIN` with one piece of text replaced, which must be there. */
export function edited(...edits: readonly (readonly [from: string, to: string])[]): string {
  let text = PLAIN
  for (const [from, to] of edits) {
    if (!text.includes(from)) throw new Error(`the file has no '${from}' to replace`)
    text = text.replace(from, () => to)
  }
  return text
}

/** The reading of a file that must be taken, with its warnings in one text. */
export function taken(text: string): Sdl & { readonly warned: string } {
  const reading = readSdl(text, 'app.yaml')
  if ('problems' in reading) throw new Error(`refused: ${JSON.stringify(reading.problems)}`)
  return { ...reading.sdl, warned: reading.warnings.map(({ message }) => message).join('\n') }
}

/** The first problem of a file that must be refused. */
export function refused(text: string): Remark {
  const reading = readSdl(text, 'app.yaml')
  const [first] = 'problems' in reading ? reading.problems : []
  if (!first) throw new Error(`not refused: ${text}`)
  return first
}

/** The only unit of the only group. */
export function unitOf(text: string) {
  const [unit] = taken(text).groups[0]?.units ?? []
  if (!unit) throw new Error('there is no unit')
  return unit
}

/** The only service of the only manifest. */
export function serviceOf(text: string) {
  const [service] = taken(text).manifests[0]?.services ?? []
  if (!service) throw new Error('there is no service')
  return service
}
