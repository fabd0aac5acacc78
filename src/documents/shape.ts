import type { Json } from './profile.ts'

/**
 * What a template can reach, as far as it is known before there is a device: `scalar`, `any` below what admins make up themselves, a list, names that
 * a device may or may not have, or fixed fields.
 */
export type Shape = 'scalar' | 'any' | { list: Shape } | { names: Shape } | { fields: { [name: string]: Shape } }

const texts = (...names: string[]): { [name: string]: Shape } =>
  Object.fromEntries(names.map((name) => [name, 'scalar']))

/** The shape of `DocumentInput` (input.ts) for a profile with these vars. */
export function inputShape(vars: Readonly<Record<string, Json>>): Shape {
  const binary: Shape = { fields: texts('arch', 'url', 'sha256') }
  return {
    fields: {
      role: 'scalar',
      device: {
        fields: { ...texts('serial', 'hostname', 'note'), labels: { names: 'scalar' }, vars: { names: 'any' } },
      },
      cluster: { fields: texts('name', 'version', 'api_endpoint') },
      profile: { fields: { ...texts('name', 'revision'), packages: { list: 'scalar' } } },
      enrollment: { fields: texts('id') },
      vars: { fields: Object.fromEntries(Object.entries(vars).map(([name, value]) => [name, shapeOf(value)])) },
      server: { fields: texts('url', 'pins', 'ca', 'audience') },
      k3s: {
        fields: {
          ...texts('config', 'unit', 'token', 'datastore', 'registries'),
          files: { list: { fields: texts('path', 'content') } },
          env: { names: 'scalar' },
          images: { list: binary },
          selinux: { list: { fields: texts('release', 'url', 'sha256') } },
          firewall: { fields: { ports: { list: 'scalar' }, networks: { list: 'scalar' } } },
          container: { fields: texts('image', 'docker_run', 'compose', 'quadlet', 'docker_unit', 'podman_unit') },
          install: {
            fields: {
              ...texts('script_url', 'script_sha256'),
              env: { names: 'scalar' },
              binaries: { list: binary },
              binary,
            },
          },
        },
      },
      secret: { fields: texts('report_url', 'join', 'node', 'node_password') },
    },
  }
}

// A device may put something else in place of a profile's object or list: what is below is only what the profile promises.
function shapeOf(value: Json): Shape {
  if (value === null || typeof value !== 'object') return 'scalar'
  if (Array.isArray(value)) return { list: 'any' }
  return { fields: Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, shapeOf(inner)])) }
}

/** Where a path leads: a shape, or why it leads nowhere. */
export type Reached = { shape: Shape } | { code: 'unknown_variable' | 'perhaps_missing'; why: string }

/** Follows a path's names from a shape. */
export function follow(from: Shape, names: readonly (string | number)[]): Reached {
  let shape = from
  for (const name of names) {
    const next = step(shape, String(name))
    if (!('shape' in next)) return next
    shape = next.shape
  }
  return { shape }
}

function step(shape: Shape, name: string): Reached {
  if (shape === 'any') return { shape: 'any' }
  if (shape === 'scalar') return { code: 'unknown_variable', why: 'a text or a number has nothing below it' }
  if ('list' in shape) return name === 'length' ? { shape: 'scalar' } : { shape: shape.list }
  if ('names' in shape)
    return { code: 'perhaps_missing', why: 'not every device has it: use (default … "name" otherwise)' }
  const inner = Object.hasOwn(shape.fields, name) ? shape.fields[name] : undefined
  if (inner !== undefined) return { shape: inner }
  return {
    code: 'unknown_variable',
    why: 'there is no such variable; what devices bring needs a default in the vars of the profile',
  }
}
