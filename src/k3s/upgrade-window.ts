import { z } from '@hono/zod-openapi'

const days = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'] as const
const timeOfDay = z.string().regex(/^(?:[01]\d|2[0-3]):[0-5]\d$/, 'must be HH:MM')

/** When upgrades may begin on a node. The names of its members are those of a Plan, in Rollcall's spelling. */
export const UpgradeWindow = z.strictObject({
  days: z.array(z.enum(days)).min(1).max(7),
  start: timeOfDay,
  end: timeOfDay,
  time_zone: z
    .string()
    .max(64)
    .refine(isTimeZone, 'must be a time zone such as Europe/Berlin')
    .default('UTC')
    .describe('IANA name'),
})
export type UpgradeWindow = z.output<typeof UpgradeWindow>

/**
 * Whether system-upgrade-controller would begin at a moment: the day is that of the moment, so a window past midnight
 * names both days (kured pkg/timewindow, which it uses).
 * @param now Unix seconds
 */
export function isInWindow({ days, start, end, time_zone }: UpgradeWindow, now: number): boolean {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone: time_zone,
    weekday: 'long',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  })
  const parts = Object.fromEntries(format.formatToParts(now * 1000).map(({ type, value }) => [type, value]))
  if (!days.some((day) => day === parts.weekday?.toLowerCase())) return false
  const time = minutes(`${parts.hour}:${parts.minute}`)
  const [first, last] = [minutes(start), minutes(end)]
  return first <= last ? time >= first && time <= last : time >= first || time <= last
}

/** In words, e.g. `saturday 02:00-04:00 Europe/Berlin`. */
export const windowText = ({ days, start, end, time_zone }: UpgradeWindow): string =>
  `${days.join(', ')} ${start}-${end} ${time_zone}`

const minutes = (text: string) => Number(text.slice(0, 2)) * 60 + Number(text.slice(3))

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return /^[A-Za-z]/.test(name)
  } catch {
    return false
  }
}
