/** One file of a seeded image; `path` has no slash in front, `mode` is numeric. */
export type SeedFile = { path: string; mode: number; content: string }

/** A symbolic link of a seeded image. */
export type SeedLink = { path: string; target: string }

export type Seed = {
  files: SeedFile[]
  links: SeedLink[]
  /** Comes last: from then on cloud-init reads the seed and nothing else. */
  switch: SeedFile
}

/** The texts in templates/seed by file name, and the device client. */
export type SeedParts = { read: (name: string) => string; client: string }

const units = ['rollcall-forget.service', 'rollcall-claim.service'] as const

/**
 * What makes a cloud-init image call in at first boot. It holds no secret.
 * @param server `url`: origin of the public URL; `pins`: `sha256//…;sha256//…`
 */
export function makeSeed(server: { url: string; pins: string }, parts: SeedParts): Seed {
  const file = (path: string, mode: number, content: string): SeedFile => ({ path, mode, content })
  return {
    files: [
      file('usr/local/sbin/rollcall-client', 0o755, parts.client),
      file('usr/local/sbin/rollcall-forget', 0o755, parts.read('rollcall-forget.sh')),
      file('etc/rollcall/client.env', 0o644, `ROLLCALL_URL='${server.url}'\nROLLCALL_PIN='${server.pins}'\n`),
      ...units.map((unit) => file(`etc/systemd/system/${unit}`, 0o644, parts.read(unit))),
      file('etc/systemd/system/cloud-init-main.service.d/rollcall.conf', 0o644, parts.read('cloud-init-main.conf')),
      file('var/lib/cloud/seed/nocloud/meta-data', 0o644, parts.read('meta-data')),
      file('var/lib/cloud/seed/nocloud/user-data', 0o644, parts.read('user-data')),
    ],
    // What `systemctl enable` would do; an image may be for another machine than this one.
    links: units.map((unit) => ({
      path: `etc/systemd/system/cloud-init.target.wants/${unit}`,
      target: `/etc/systemd/system/${unit}`,
    })),
    switch: file('etc/cloud/cloud.cfg.d/99-rollcall-seed.cfg', 0o644, parts.read('99-rollcall-seed.cfg')),
  }
}

/**
 * The seed as cloud-config that any data source can deliver: it seeds the running machine and restarts it once.
 * @param script text of templates/seed/stage-one.sh
 */
export function stageOne(seed: Seed, script: string): string {
  const links = seed.links.flatMap(({ path, target }) => [
    `  mkdir -p /${path.slice(0, path.lastIndexOf('/'))}`,
    `  ln -sf ${target} /${path}`,
  ])
  const body = script
    .replace('  # (files)', [...seed.files.flatMap(put), ...links].join('\n'))
    .replace('  # (switch)', put(seed.switch).join('\n'))
  const lines = body.split('\n').map((line) => (line === '' ? '' : `    ${line}`))
  return `#cloud-config\nbootcmd:\n  - |\n${lines.join('\n').trimEnd()}\n`
}

function put({ path, mode, content }: SeedFile): string[] {
  const text = Buffer.from(content).toString('base64')
  return [`  rollcall_put /${path} ${mode.toString(8)} <<'ROLLCALL'`, ...(text.match(/.{1,76}/g) ?? []), 'ROLLCALL']
}
