import { z } from '@hono/zod-openapi'

// Ignition spec 3.3.0, by its published field tables. Ignition itself only warns of an unknown key, and then boots without what it meant: here it is an error.

const scheme = z.string().regex(/^(?:https?|tftp|s3|gs|arn):|^data:/, 'must be a data, http, https, tftp, s3 or gs URL')
const verification = z
  .strictObject({
    hash: z
      .string()
      .regex(/^(?:sha256-[0-9a-f]{64}|sha512-[0-9a-f]{128})$/, 'must be sha256-<64 hex> or sha512-<128 hex>')
      .nullish(),
  })
  .optional()
const httpHeaders = z.array(z.strictObject({ name: z.string().min(1), value: z.string().nullish() })).optional()
const resource = {
  source: scheme.nullish(),
  compression: z.enum(['', 'gzip']).nullish(),
  httpHeaders,
  verification,
}
const Resource = z.strictObject(resource)

const path = z
  .string()
  .regex(/^\/(?!\/)/, 'must be an absolute path')
  .refine((text) => !/\/\.{0,2}(?:\/|$)/.test(text) || text === '/', 'must be a clean path')
const owner = z.strictObject({ id: z.int().min(0).nullish(), name: z.string().nullish() }).optional()
// 3.3 drops the special bits, and what is larger was meant in octal
const mode = z
  .int()
  .min(0)
  .max(0o777, 'must be decimal and at most 511 (0600 is 384, 0644 is 420, 0700 is 448)')
  .nullish()
const node = { path, user: owner, group: owner, overwrite: z.boolean().nullish() }
const names = z.array(z.string()).optional()

const storage = z.strictObject({
  files: z
    .array(z.strictObject({ ...node, contents: Resource.optional(), append: z.array(Resource).optional(), mode }))
    .optional(),
  directories: z.array(z.strictObject({ ...node, mode })).optional(),
  links: z.array(z.strictObject({ ...node, target: z.string().min(1), hard: z.boolean().nullish() })).optional(),
  disks: z
    .array(
      z.strictObject({
        device: path,
        wipeTable: z.boolean().nullish(),
        partitions: z
          .array(
            z.strictObject({
              number: z.int().min(0).optional(),
              label: z.string().max(36).nullish(),
              startMiB: z.int().nullish(),
              sizeMiB: z.int().nullish(),
              typeGuid: z.string().nullish(),
              guid: z.string().nullish(),
              wipePartitionEntry: z.boolean().nullish(),
              shouldExist: z.boolean().nullish(),
              resize: z.boolean().nullish(),
            }),
          )
          .optional(),
      }),
    )
    .optional(),
  raid: z
    .array(
      z.strictObject({
        name: z.string(),
        level: z.string().nullish(),
        devices: z.array(path).optional(),
        spares: z.int().nullish(),
        options: names,
      }),
    )
    .optional(),
  filesystems: z
    .array(
      z.strictObject({
        device: path,
        path: path.nullish(),
        format: z.enum(['ext4', 'btrfs', 'xfs', 'vfat', 'swap', 'none']).nullish(),
        label: z.string().nullish(),
        uuid: z.string().nullish(),
        options: names,
        mountOptions: names,
        wipeFilesystem: z.boolean().nullish(),
      }),
    )
    .optional(),
  luks: z
    .array(
      z.strictObject({
        name: z.string(),
        device: path.nullish(),
        keyFile: Resource.optional(),
        label: z.string().nullish(),
        uuid: z.string().nullish(),
        options: names,
        wipeVolume: z.boolean().nullish(),
        clevis: z
          .strictObject({
            tpm2: z.boolean().nullish(),
            threshold: z.int().min(1).nullish(),
            tang: z.array(z.strictObject({ url: z.url(), thumbprint: z.string().nullish() })).optional(),
            custom: z
              .strictObject({
                pin: z.string().nullish(),
                config: z.string().nullish(),
                needsNetwork: z.boolean().nullish(),
              })
              .optional(),
          })
          .optional(),
      }),
    )
    .optional(),
})

const unitName = z
  .string()
  .regex(
    /^[A-Za-z0-9:_.@\\-]+\.(?:service|socket|device|mount|automount|swap|target|path|timer|slice|scope)$/,
    'must be a unit name',
  )
const systemd = z.strictObject({
  units: z
    .array(
      z.strictObject({
        name: unitName,
        enabled: z.boolean().nullish(),
        mask: z.boolean().nullish(),
        contents: z.string().nullish(),
        dropins: z
          .array(
            z.strictObject({
              name: z.string().regex(/^[^/]+\.conf$/, 'must end in .conf'),
              contents: z.string().nullish(),
            }),
          )
          .optional(),
      }),
    )
    .optional(),
})

const account = {
  uid: z.int().min(0).nullish(),
  gecos: z.string().nullish(),
  homeDir: z.string().nullish(),
  noCreateHome: z.boolean().nullish(),
  primaryGroup: z.string().nullish(),
  groups: names,
  noUserGroup: z.boolean().nullish(),
  noLogInit: z.boolean().nullish(),
  shell: z.string().nullish(),
  system: z.boolean().nullish(),
  shouldExist: z.boolean().nullish(),
}
const passwd = z.strictObject({
  users: z
    .array(
      z.strictObject({
        name: z.string().min(1),
        passwordHash: z.string().nullish(),
        sshAuthorizedKeys: names,
        ...account,
      }),
    )
    .optional(),
  groups: z
    .array(
      z.strictObject({
        name: z.string().min(1),
        gid: z.int().min(0).nullish(),
        passwordHash: z.string().nullish(),
        shouldExist: z.boolean().nullish(),
        system: z.boolean().nullish(),
      }),
    )
    .optional(),
})

/** An Ignition config of spec 3.3.0. */
export const IgnitionConfig = z.strictObject({
  ignition: z.strictObject({
    version: z.literal('3.3.0'),
    config: z.strictObject({ merge: z.array(Resource).optional(), replace: Resource.optional() }).optional(),
    security: z
      .strictObject({ tls: z.strictObject({ certificateAuthorities: z.array(Resource).optional() }).optional() })
      .optional(),
    timeouts: z.strictObject({ httpResponseHeaders: z.int().nullish(), httpTotal: z.int().nullish() }).optional(),
    proxy: z
      .strictObject({ httpProxy: z.string().nullish(), httpsProxy: z.string().nullish(), noProxy: names })
      .optional(),
  }),
  storage: storage.optional(),
  systemd: systemd.optional(),
  passwd: passwd.optional(),
  kernelArguments: z.strictObject({ shouldExist: names, shouldNotExist: names }).optional(),
})
export type IgnitionConfig = z.output<typeof IgnitionConfig>
