import { z } from '@hono/zod-openapi'
import type { Reason } from './template-error.ts'
import { readYaml } from './yaml-text.ts'

/** cloud-init decides by the first line what user-data is; a byte order mark or anything else before it, and all is ignored. */
const header = /^#cloud-config\r?\n/
/** cloud-init takes the whole for a mail if this stands in the first 4096 bytes. */
const mail = /mime-version:/i

/** Top-level keys that cloud-init 22.4 to 25.1 knows; it ignores a mistyped one without a word. */
const keys = new Set(
  `allow_public_ssh_keys ansible apk_repos apt apt_pipelining apt_reboot_if_required apt_update apt_upgrade authkey_hash autoinstall
  bootcmd byobu_by_default ca-certs ca_certs chef chpasswd cloud_config_modules cloud_final_modules cloud_init_modules
  create_hostname_file device_aliases disable_ec2_metadata disable_root disable_root_opts disk_setup drivers fan final_message fqdn
  fs_setup groups growpart grub-dpkg grub_dpkg hostname keyboard landscape launch-index locale locale_configfile lxd manage_etc_hosts
  manage_resolv_conf mcollective merge_how merge_type migrate mount_default_fields mounts no_ssh_fingerprints ntp output
  package_reboot_if_required package_update package_upgrade packages password phone_home power_state prefer_fqdn_over_hostname
  preserve_hostname puppet random_seed reporting resize_rootfs resolv_conf rh_subscription rsyslog runcmd salt_minion snap spacewalk ssh
  ssh_authorized_keys ssh_deletekeys ssh_fp_console_blacklist ssh_genkeytypes ssh_import_id ssh_key_console_blacklist ssh_keys
  ssh_publish_hostkeys ssh_pwauth ssh_quiet_keygen swap system_info timezone ubuntu_advantage ubuntu_pro updates user users vendor_data
  version wireguard write_files yum_repo_dir yum_repos zypper`.split(/\s+/),
)

const commands = z.array(z.union([z.string(), z.array(z.string()).min(1)]))
const path = z.string().regex(/^\//, 'must be an absolute path')

/** What cloud-init's own schema says of the keys that documents rest on; the others are checked by name alone. */
const Document = z.looseObject({
  hostname: z.string().min(1).optional(),
  fqdn: z.string().optional(),
  preserve_hostname: z.boolean().optional(),
  bootcmd: commands.optional(),
  runcmd: commands.optional(),
  packages: z.array(z.unknown()).optional(),
  write_files: z
    .array(
      z.strictObject({
        path,
        content: z.union([z.string(), z.instanceof(Uint8Array)]).optional(),
        source: z.strictObject({ uri: z.string(), headers: z.record(z.string(), z.string()).optional() }).optional(),
        owner: z.string().optional(),
        permissions: z.string('must be a quoted string: YAML reads a bare 0644 as a number').optional(),
        encoding: z
          .enum(['gz', 'gzip', 'gz+base64', 'gzip+base64', 'gz+b64', 'gzip+b64', 'b64', 'base64', 'text/plain'])
          .optional(),
        append: z.boolean().optional(),
        defer: z.boolean().optional(),
      }),
    )
    .optional(),
  ca_certs: z
    .strictObject({ remove_defaults: z.boolean().optional(), trusted: z.array(z.string()).optional() })
    .optional(),
  reporting: z
    .record(
      z.string(),
      z.looseObject({
        type: z.enum(['log', 'print', 'webhook', 'hyperv']),
        endpoint: z.url().optional(),
        timeout: z.number().min(0).optional(),
        retries: z.int().min(0).optional(),
      }),
    )
    .optional(),
  phone_home: z
    .strictObject({
      url: z.string(),
      post: z.union([z.literal('all'), z.array(z.string())]).optional(),
      tries: z.int().optional(),
    })
    .optional(),
})

/** Reads cloud-init user-data as PyYAML would. Throws as `readYaml`. */
export function parseCloudConfig(text: string): unknown {
  return readYaml(text, '1.1')
}

/** What is wrong with a document's own text, before YAML. */
export function checkCloudConfigText(text: string): Reason[] {
  if (!header.test(text)) return [{ code: 'header', message: 'the first line must be #cloud-config' }]
  if (mail.test(text.slice(0, 4096)))
    return [{ code: 'header', message: 'cloud-init would take it for a MIME message' }]
  return []
}

/** What is wrong with parsed user-data; empty if cloud-init can use it. Names paths and rules, never values. */
export function checkCloudConfig(document: unknown): Reason[] {
  if (document === null || typeof document !== 'object' || Array.isArray(document)) {
    return [{ code: 'shape', message: 'the document is no mapping' }]
  }
  const unknown = Object.keys(document).filter((key) => !keys.has(key))
  const parsed = Document.safeParse(document)
  return [
    ...unknown.map((key) => ({ code: 'unknown_key', message: `cloud-init has no key ${key}` })),
    ...(parsed.error?.issues ?? []).map((issue) => ({
      code: 'shape',
      message: `${issue.path.join('.')}: ${issue.message}`,
    })),
  ]
}
