import * as assert from 'uvu/assert'
import { parseAllDocuments } from 'yaml'
import { accessManifest } from '../../src/k3s/access-manifest.ts'
import { golden } from '../golden.ts'
import { suite } from '../suite.ts'

const test = suite('access manifest')

type Ruled = { kind: string; rules?: { resources: string[]; verbs: string[] }[] }
const rulesOf = (bans: boolean) =>
  parseAllDocuments(accessManifest({ bans }))
    .map((document) => document.toJS() as Ruled)
    .flatMap(({ rules }) => rules ?? [])

test('never lets it read or change a Secret, or write admission policies unless bans are wanted', () => {
  for (const bans of [false, true]) {
    const secrets = rulesOf(bans).filter(({ resources }) => resources.includes('secrets'))
    assert.equal(
      secrets.map(({ verbs }) => verbs),
      [['create', 'delete']],
    )
  }
  assert.not.ok(rulesOf(false).some(({ resources }) => resources.some((one) => one.startsWith('validating'))))
})

test('is what is printed', () => {
  golden('access-manifest.yaml', accessManifest({ bans: false }))
  golden('access-manifest-bans.yaml', accessManifest({ bans: true }))
})
