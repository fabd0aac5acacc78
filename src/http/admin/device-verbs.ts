import { commandDevice, type DeviceVerb } from '../../services/command-device.ts'
import { Device, serialParam as params } from './device-schema.ts'
import { etag, ifMatch } from './etag.ts'
import { actor, adminRoute, answer, resource } from './frame.ts'

const summaries: Record<DeviceVerb, string> = {
  approve: 'Let a pending device claim',
  reject: 'Refuse a pending device for good',
  revoke: 'Trust a device no longer: its enrollment and all its secrets end',
  retire: 'Take a trusted device out of service: its enrollment and all its secrets end',
  reinstate: 'Bring a revoked or retired device back onto the roll',
  arm: 'Open the window of 24 h in which it may boot from the network',
  disarm: 'Close that window',
  reenroll: 'Let the next claim of a device that joined through, once',
}

const verbRoute = (verb: DeviceVerb) =>
  adminRoute({
    method: 'post',
    path: `/devices/{serial}/${verb}`,
    scope: verb === 'reinstate' ? 'admin' : 'write',
    ifMatch: true,
    tags: ['devices'],
    summary: summaries[verb],
    request: { params },
    responses: { 200: answer('As it is now', Device) },
    errors: ['not_found', 'state_conflict'],
  })

/** One route a verb. */
export function deviceVerbRoutes() {
  const routes = resource()
  for (const verb of Object.keys(summaries) as DeviceVerb[]) {
    routes.openapi(verbRoute(verb), async (c) => {
      const request = { ...c.req.valid('param'), verb, precondition: ifMatch(c) }
      const device = await commandDevice(c.var.context, actor(c), request)
      return c.json(device.body, 200, { ETag: etag(device) })
    })
  }
  return routes
}
