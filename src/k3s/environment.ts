import { AppError } from '../errors.ts'

/** Where K3s' unit reads its environment on every node. */
const path = '/etc/rollcall/k3s.env'

/**
 * K3s' environment as a file that systemd reads (systemd.exec, EnvironmentFile); none if it is empty.
 * @throws AppError `internal` for a name or a value that cannot stand there
 */
export function environmentFile(env: Readonly<Record<string, string>>): { path: string; content: string }[] {
  const lines = Object.entries(env).map(([name, value]) => {
    if (!/^[A-Z][A-Z0-9_]*$/.test(name) || !/^[\x20-\x7e]*$/.test(value))
      throw new AppError('internal', { cause: new Error(`K3s' environment: ${name}`) })
    return `${name}="${value.replace(/["\\$`]/g, '\\$&')}"\n`
  })
  return lines.length > 0 ? [{ path, content: lines.join('') }] : []
}
