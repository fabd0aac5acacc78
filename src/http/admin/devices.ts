import { z } from '@hono/zod-openapi'
import { DeviceInput, DevicePatch } from '../../roll/device-input.ts'
import { deviceStates } from '../../roll/state.ts'
import { changeDevice } from '../../services/change-device.ts'
import { commandDevice } from '../../services/command-device.ts'
import { readDevice, readDevices } from '../../services/read-devices.ts'
import { registerDevice } from '../../services/register-device.ts'
import { Device, serialParam as params } from './device-schema.ts'
import { etag, ifMatch } from './etag.ts'
import { actor, adminRoute, answer, requireScope, resource } from './frame.ts'
import { listOf, PageQuery, page } from './paging.ts'

const tags = ['devices']
const name = z.string().max(256).optional()

const filter = {
  state: z.enum(deviceStates).optional(),
  cluster: name.openapi({ description: 'Name' }),
  profile: name.openapi({ description: 'Name' }),
  q: name.openapi({ description: 'Beginning of a serial, in any case' }),
}

const list = adminRoute({
  method: 'get',
  path: '/devices',
  scope: 'read',
  tags,
  summary: 'The roll',
  request: { query: PageQuery.extend(filter) },
  responses: { 200: answer('A page', listOf(Device, 'DeviceList')) },
})

const create = adminRoute({
  method: 'post',
  path: '/devices',
  scope: 'write',
  tags,
  summary: 'Put a device on the roll',
  request: { body: { required: true, content: { 'application/json': { schema: DeviceInput } } } },
  responses: { 201: answer('Registered', Device) },
  errors: ['already_exists', 'state_conflict'],
})

const read = adminRoute({
  method: 'get',
  path: '/devices/{serial}',
  scope: 'read',
  tags,
  summary: 'One device; a revoked or retired one is still shown',
  request: { params },
  responses: { 200: answer('The device', Device) },
  errors: ['not_found'],
})

const change = adminRoute({
  method: 'patch',
  path: '/devices/{serial}',
  scope: 'write',
  ifMatch: true,
  tags,
  summary: 'Change a device (RFC 7396); lowering an assurance needs scope admin',
  request: { params, body: { required: true, content: { 'application/json': { schema: DevicePatch } } } },
  responses: { 200: answer('As it is now', Device) },
  errors: ['not_found', 'already_exists', 'state_conflict'],
})

const remove = adminRoute({
  method: 'delete',
  path: '/devices/{serial}',
  scope: 'write',
  ifMatch: true,
  tags,
  summary: 'Retire a device: its serial stays as a tombstone',
  request: { params },
  responses: { 200: answer('The tombstone', Device) },
  errors: ['not_found', 'state_conflict'],
})

export const deviceRoutes = () =>
  resource()
    .openapi(list, async (c) => {
      const { limit, cursor, ...wanted } = c.req.valid('query')
      const rows = await readDevices(c.var.context, { ...wanted, after: cursor, limit: limit + 1 })
      return c.json(
        page(rows, limit, (row) => row.id),
        200,
      )
    })
    .openapi(create, async (c) => {
      const device = await registerDevice(c.var.context, actor(c), c.req.valid('json'), () => requireScope(c, 'admin'))
      const Location = `/api/v1/devices/${encodeURIComponent(device.body.serial)}`
      return c.json(device.body, 201, { ETag: etag(device), Location })
    })
    .openapi(read, async (c) => {
      const device = await readDevice(c.var.context, c.req.valid('param').serial)
      return c.json(device.body, 200, { ETag: etag(device) })
    })
    .openapi(change, async (c) => {
      const demandAdmin = () => requireScope(c, 'admin')
      const request = { ...c.req.valid('param'), patch: c.req.valid('json'), precondition: ifMatch(c), demandAdmin }
      const device = await changeDevice(c.var.context, actor(c), request)
      return c.json(device.body, 200, { ETag: etag(device) })
    })
    .openapi(remove, async (c) => {
      const request = { ...c.req.valid('param'), verb: 'retire' as const, precondition: ifMatch(c) }
      const device = await commandDevice(c.var.context, actor(c), request)
      return c.json(device.body, 200, { ETag: etag(device) })
    })
