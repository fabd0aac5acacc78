// INTERIM STUB by the coordinator so that tests run: the "k3s + documents" helper REPLACES this whole file; keep the exported names.
import type { DocumentInput, RenderedDocument } from '../documents/input.ts'
import type { ClusterParts, ProfileParts } from './claim-parts.ts'
import type { Context } from './context.ts'

export type ComposeParts = {
  device: {
    id: string
    serial: string
    hostname: string
    labels: Record<string, string>
    vars: Record<string, never>
    note: string
  }
  role: 'server' | 'agent'
  profile: ProfileParts
  cluster: ClusterParts
  /** `join`: a server's ticket or an agent's K3s token; `node` is empty for agents */
  enrollment: { id: string; join: string; report: string; node: string }
}
export type Composer = (parts: ComposeParts) => { input: DocumentInput; rendered: RenderedDocument }
export const composer =
  (context: Pick<Context, 'settings' | 'keys'>): Composer =>
  (parts) => ({
    input: {} as never,
    rendered: {
      body: `#cloud-config\n# ${parts.device.hostname}\n# ${context.settings.publicUrl}/v1/report/${parts.enrollment.report}\n# ROLLCALL_JOIN='${parts.enrollment.join}'\n`,
      contentType: 'text/cloud-config',
    },
  })
