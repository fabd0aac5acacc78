import * as assert from 'uvu/assert'
import { checkAddressed } from '../../src/identity/addressee.ts'
import { issueNonce } from '../../src/identity/nonce.ts'
import { suite } from '../suite.ts'
import { refusedSilently } from './refusal.ts'

const test = suite('to whom a claim is addressed')

const now = 1_795_396_247
const nonceKey = new Uint8Array(32).fill(7)
const to = { nonceKey, now, audiences: ['https://roll.example', 'https://10.0.0.1:8443'] }
const eat_nonce = issueNonce(nonceKey, now, new Uint8Array(16).fill(9))

test('the nonce is looked at before the audience', () => {
  refusedSilently(() => checkAddressed({ eat_nonce: '', aud: 'https://other' }, to), 'nonce_invalid')
  refusedSilently(() => checkAddressed({ eat_nonce, aud: 'https://other' }, { ...to, now: now + 421 }), 'nonce_expired')
})

test('refuses an audience that is not ours to the letter', () => {
  const others = [
    '',
    'https://roll.example/',
    'https://roll.example:443',
    'HTTPS://roll.example',
    'http://roll.example',
    'roll.example',
    'https://roll.example.evil',
  ]
  for (const aud of others) refusedSilently(() => checkAddressed({ eat_nonce, aud }, to), 'wrong_audience')
})

test('takes any of ours, and says how old the nonce is', () => {
  for (const aud of to.audiences) assert.is(checkAddressed({ eat_nonce, aud }, to), 'fresh')
  assert.is(checkAddressed({ eat_nonce, aud: 'https://roll.example' }, { ...to, now: now + 301 }), 'stale')
})
