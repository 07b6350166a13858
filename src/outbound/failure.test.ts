import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { errors } from 'undici'
import { ConnectFailure } from './connect.ts'
import { AnswerRefused, asBrokenOff, BrokenOff, failureOf, Interrupted } from './failure.ts'

const withCode = (code: string) => Object.assign(new Error(`secret ${code}`), { code })

suite('a failure', () => {
  const failures: readonly (readonly [string, unknown, string])[] = [
    ['of the connection keeps its code', new ConnectFailure('tls_failed', 'EPROTO'), 'tls_failed'],
    ['by our own rules keeps its code', new AnswerRefused('redirected', 'no', 302), 'redirected'],
    ['by our own clock is a time limit', new Interrupted(), 'timed_out'],
    ['of headers that do not come is a time limit', new errors.HeadersTimeoutError(), 'timed_out'],
    ['of a body that stops is a time limit', new errors.BodyTimeoutError(), 'timed_out'],
    ['of too many headers is a size limit', new errors.HeadersOverflowError(), 'too_large'],
    [
      'of the parser is no answer',
      Object.assign(new errors.HTTPParserError('secret'), { data: 'secret' }),
      'unexpected_response',
    ],
    [
      'of the body length is no answer',
      new errors.ResponseContentLengthMismatchError(),
      'unexpected_response',
    ],
    ['of gzip is no answer', withCode('Z_DATA_ERROR'), 'unexpected_response'],
    ['of Brotli is no answer', withCode('ERR__ERROR_FORMAT_PADDING_1'), 'unexpected_response'],
    ['of the socket is a broken connection', new errors.SocketError('other side closed'), 'unreachable'],
    ['of the system is a broken connection', withCode('ECONNRESET'), 'unreachable'],
    ['before the headers is a broken connection', new BrokenOff('EPIPE'), 'unreachable'],
    [
      'of TLS after the handshake is a broken connection',
      withCode('ERR_SSL_DECRYPTION_FAILED'),
      'unreachable',
    ],
  ]
  for (const [what, thrown, code] of failures)
    test(what, () => {
      const failure = failureOf(thrown)
      assert.equal(failure?.code, code)
      assert.doesNotMatch(JSON.stringify(failure), /secret/)
    })

  test('is not seen in a bug', () => {
    for (const bug of [
      new TypeError('x is not a function'),
      withCode('ERR_INVALID_ARG_TYPE'),
      withCode('ABORT_ERR'),
      new errors.InvalidArgumentError('invalid header'),
      withCode('text with blanks'),
      { code: 'ECONNRESET' },
      undefined,
    ])
      assert.equal(failureOf(bug), undefined)
  })
})

test('a connection closed before the headers is broken off; anything else stays what it was', () => {
  assert.ok(asBrokenOff(withCode('ECONNRESET')) instanceof BrokenOff)
  assert.ok(asBrokenOff(new errors.SocketError('other side closed')) instanceof BrokenOff)
  for (const other of [
    withCode('ECONNREFUSED'),
    new ConnectFailure('tls_failed', 'ECONNRESET'),
    new Interrupted(),
  ])
    assert.equal(asBrokenOff(other), other)
})
