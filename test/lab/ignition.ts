import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { attempt } from './command.ts'

/**
 * Has the real Ignition apply `config` to the file system at `root`: its fetch stage by URL, then its files stage, as in an initramfs.
 * @param dir an empty folder for its state and logs
 */
export async function applyIgnition(cache: string, dir: string, config: string, root: string): Promise<void> {
  await mkdir(join(dir, 'bin'), { recursive: true })
  // Debian's build relabels for SELinux at the end, which a root without SELinux has no program and no policy for.
  await writeFile(join(dir, 'bin/setfiles'), '#!/bin/sh\ncat >/dev/null\n')
  await chmod(join(dir, 'bin/setfiles'), 0o755)
  await mkdir(join(root, 'etc/selinux'), { recursive: true })
  await writeFile(join(root, 'etc/selinux/config'), 'SELINUX=disabled\nSELINUXTYPE=targeted\n')

  const text = await readFile(config)
  const http = createServer((_, response) => response.end(text))
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const { port } = http.address() as { port: number }
  await writeFile(
    join(dir, 'cmdline'),
    `ignition.firstboot ignition.platform.id=metal ignition.config.url=http://127.0.0.1:${port}/config\n`,
  )
  const log = join(dir, 'ignition.log')
  const { code } = await attempt('unshare', [
    '--mount',
    '--uts',
    'sh',
    '-c',
    stages,
    dir,
    root,
    ignitionBinary(cache),
    log,
  ])
  http.close()
  if (code !== 0) throw new Error(`ignition: exit ${code}\n${(await readFile(log, 'utf8')).slice(-2000)}`)
}

const stages = `
set -eu
mount --bind "$0/cmdline" /proc/cmdline
mount -t tmpfs tmpfs /run
mkdir /run/ignition
export PATH="$0/bin:$PATH"
for stage in fetch files; do
  "$2" -platform metal -stage "$stage" -root "$1" -config-cache "$0/config.json" -state-file "$0/state" -neednet "$0/neednet" -log-to-stdout >>"$3" 2>&1
done`

function ignitionBinary(cache: string): string {
  return join(cache, 'ignition/usr/lib/dracut/modules.d/30ignition/ignition')
}
