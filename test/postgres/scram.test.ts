import * as assert from 'uvu/assert'
import { scramVerifier } from '../../src/postgres/scram.ts'
import { suite } from '../suite.ts'

const test = suite('SCRAM verifier')

// RFC 7677, section 3: password, salt and iterations of its example; the keys of it, as its messages imply them.
test('is what PostgreSQL makes of RFC 7677’s example password', () => {
  const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64')
  assert.is(
    scramVerifier('pencil', salt),
    'SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=',
  )
})
