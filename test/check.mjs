// `npm run check [-- --without-tests]`: one line a check, its output where it fails, and the sum.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

/** A check gives nothing when all is well, else what is wrong. */
const checks = {
  'format, lint, import directions': () => bin('biome', 'ci', '--colors=off', '--error-on-warnings', '.'),
  types: () => bin('tsc', '--noEmit') || bin('tsc', '-p', 'tsconfig.build.json', '--noEmit'),
  'pure rooms take clock and chance as arguments': impure,
  'migrations agree with each other': () => bin('drizzle-kit', 'check', '--config', 'drizzle.config.ts'),
  'migrations agree with the schema': schemaDrift,
  'shell scripts': shellcheck,
  'relative links in the docs': deadLinks,
  ...(process.argv.includes('--without-tests') ? {} : { tests }),
}

let failed = 0
for (const [name, check] of Object.entries(checks)) {
  const problem = check()
  if (problem) failed++
  console.log(`${problem ? 'FAIL' : 'ok  '} ${name}`)
  if (problem) console.log(problem.trimEnd().replace(/^/gm, '     '))
}
for (const warning of longFiles()) console.log(`warn ${warning}`)
console.log(`\ncheck: ${Object.keys(checks).length - failed} passed, ${failed} failed`)
process.exitCode = failed ? 1 : 0

function run(command, args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
    maxBuffer: 64 * 1024 * 1024,
  })
  return status === 0
    ? ''
    : `${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}` || `${command} ended with ${status}`
}

function tests() {
  const { status } = spawnSync(process.execPath, ['test/run.mjs'], { stdio: 'inherit' })
  return status === 0 ? '' : 'as said above'
}

function bin(name, ...args) {
  return run(`node_modules/.bin/${name}`, args)
}

/** Files below the given folders whose path matches. */
function files(folders, matching) {
  const below = (folder) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => `${entry.parentPath}/${entry.name}`)
  return folders
    .filter(existsSync)
    .flatMap(below)
    .filter((file) => matching.test(file))
    .sort()
}

function impure() {
  const reached = /\bDate\.now\(|\bnew Date\(\)|\bMath\.random\(|\brandom(?:Bytes|UUID|Int|FillSync|Fill)\(/
  return files(['src/identity', 'src/roll', 'src/k3s', 'src/documents'], /\.ts$/)
    .flatMap((file) => lines(file).map((line, i) => (reached.test(line) ? `${file}:${i + 1}: ${line.trim()}` : '')))
    .filter(Boolean)
    .join('\n')
}

/** What drizzle-kit would still write: nothing, if the last migration was made from this schema. */
function schemaDrift() {
  mkdirSync('node_modules/.cache', { recursive: true })
  const folder = mkdtempSync('node_modules/.cache/drift-')
  try {
    cpSync('migrations', folder, { recursive: true })
    const flags = ['--dialect', 'postgresql', '--schema', './src/store/*schema.ts', '--casing', 'snake_case']
    const problem = bin('drizzle-kit', 'generate', ...flags, '--out', `./${folder}`, '--name', 'drift')
    const drift = readdirSync(folder).find((file) => file.endsWith('_drift.sql'))
    if (!drift) return problem
    return `npm run db:generate -- --name <what changes> would write:\n${readFileSync(`${folder}/${drift}`, 'utf8')}`
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function shellcheck() {
  const scripts = files(['.ci', 'templates', 'test', 'docs'], /(?:\/[^.]+|\.sh)$/).filter((file) =>
    /^#!.*\b(?:sh|bash|dash|ash)\b/.test(readFileSync(file, 'utf8').slice(0, 80)),
  )
  return run('shellcheck', scripts)
}

function deadLinks() {
  const pages = [...readdirSync('.').filter((name) => name.endsWith('.md')), ...files(['docs'], /\.md$/)]
  return pages
    .flatMap((file) => {
      const folder = file.includes('/') ? file.replace(/[^/]*$/, '') : ''
      const targets = [...readFileSync(file, 'utf8').matchAll(/\]\((?!https?:|mailto:|#)([^)#\s]+)/g)].map((m) => m[1])
      return targets.filter((to) => !existsSync(folder + to)).map((to) => `${file}: nothing at ${to}`)
    })
    .join('\n')
}

function longFiles() {
  return files(['src'], /\.tsx?$/).flatMap((file) => {
    const length = lines(file).length - 1
    return length > 250 ? [`${file} has ${length} lines: is it one concept?`] : []
  })
}

function lines(file) {
  return readFileSync(file, 'utf8').split('\n')
}
