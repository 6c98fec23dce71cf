/** Requests that two readers could read in two ways, byte by byte: none of them reaches a service. */
import assert from 'node:assert/strict'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { HOST, setupIngress } from './ingress-kit.ts'

const timeout = 60_000

describe('an ambiguous request', { timeout }, () => {
  const smuggled = 'GET /admin HTTP/1.1\r\nhost: x\r\n\r\n'
  const hostile: [string, string][] = [
    ['a length and a coding', post('content-length: 4', 'transfer-encoding: chunked')],
    ['a coding and a length', post('transfer-encoding: chunked', 'content-length: 4')],
    ['two lengths', post('content-length: 4', 'content-length: 40')],
    ['the same length twice', post('content-length: 4', 'content-length: 4')],
    ['a list of lengths', post('content-length: 4, 40')],
    ['a length with a sign', post('content-length: +4')],
    ['a length in hex', post('content-length: 0x4')],
    ['a length that nobody can count', post('content-length: 99999999999999999999')],
    ['two codings', post('transfer-encoding: chunked', 'transfer-encoding: identity')],
    ['a coding before chunked', post('transfer-encoding: gzip, chunked')],
    ['a coding after chunked', post('transfer-encoding: chunked, identity')],
    ['a coding that looks like chunked', post('transfer-encoding: xchunked')],
    ['a coding in HTTP/1.0', post('transfer-encoding: chunked').replace('HTTP/1.1', 'HTTP/1.0')],
    ['a space before the colon', post('transfer-encoding : chunked')],
    ['a folded header', post('transfer-encoding:\r\n chunked')],
    ['a chunk size that is none', `${post('transfer-encoding: chunked')}0x4\r\n`],
    ['a bare line feed', post('content-length: 4\nx: y')],
    ['a control character', post('content-length: 4', 'x: a\x01b')],
    ['a control character in the URL', post('content-length: 4').replace('POST /', 'POST /\x01')],
    ['two hosts', post('content-length: 0', 'host: other.localhost')],
    [
      'a URL of another host',
      post('content-length: 0').replace('POST /', 'POST http://other.localhost/'),
    ],
    ['a URL of another kind', post('content-length: 0').replace('POST /', `POST ftp://${HOST}/`)],
  ]
  for (const [what, bytes] of hostile) {
    it(`is refused: ${what}`, async (t) => {
      const heard: string[] = []
      const { dial } = await setupIngress(t, [
        (request, response) => {
          heard.push(`${request.method} ${request.url}`)
          response.end('heard')
        },
      ])
      const socket = dial()
      socket.write(bytes + smuggled)
      const said = await text(socket)
      assert.match(said, /^HTTP\/1\.1 400 /)
      assert.equal(
        said.match(/HTTP\/1\.1 \d/g)?.length,
        1,
        'one answer, then the connection closes',
      )
      assert.deepEqual(heard, [])
    })
  }
})

describe('an unusual request', { timeout }, () => {
  it('may name the host in its URL', async (t) => {
    const { dial } = await setupIngress(t, [(request, response) => response.end(request.url)])
    const socket = dial()
    socket.write(`GET http://${HOST}/a?b HTTP/1.1\r\nhost: ${HOST}\r\nconnection: close\r\n\r\n`)
    assert.match(await text(socket), /^HTTP\/1\.1 200 [^]*\/a\?b/)
  })

  it('may be of HTTP/1.0', async (t) => {
    const { dial } = await setupIngress(t, [(_request, response) => response.end('old')])
    const socket = dial()
    socket.write(`GET / HTTP/1.0\r\nhost: ${HOST}\r\n\r\n`)
    const said = await text(socket)
    assert.match(said, /^HTTP\/1\.1 200 [^]*old$/)
    assert.doesNotMatch(said, /chunked/)
  })

  it('may come in a row with others, and is answered in turn', async (t) => {
    const { dial } = await setupIngress(t, [
      (request, response) => {
        request.resume().on('end', () => response.end(`<${request.url}>`))
      },
    ])
    const socket = dial()
    const body = post('content-length: 5').replace('POST /', 'POST /2')
    socket.write(`${get('/1')}${body}hello${get('/3', 'connection: close\r\n')}`)
    const said = await text(socket)
    assert.deepEqual(said.match(/<\/\d>/g), ['</1>', '</2>', '</3>'])
  })
})

function get(path: string, more = ''): string {
  return `GET ${path} HTTP/1.1\r\nhost: ${HOST}\r\n${more}\r\n`
}

function post(...headers: string[]): string {
  return ['POST / HTTP/1.1', `host: ${HOST}`, ...headers, '', ''].join('\r\n')
}
