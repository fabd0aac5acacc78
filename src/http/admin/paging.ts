import { z } from '@hono/zod-openapi'

const most = 500
const usual = 100

const Limit = z
  .string()
  .regex(/^[0-9]{1,4}$/, 'a whole number')
  .transform(Number)
  .pipe(z.int().min(1).max(most))
  .default(usual)
  .openapi({ param: { name: 'limit', in: 'query' }, type: 'integer', minimum: 1, maximum: most, default: usual })

const Cursor = z
  .string()
  .max(1_024)
  .transform((text, issues) => {
    const key = Buffer.from(text, 'base64url').toString('utf8')
    if (text !== '' && encode(key) === text && !key.includes('\0')) return key
    issues.addIssue({ code: 'custom', message: 'not a cursor of this list' })
    return z.NEVER
  })
  .optional()
  .openapi({ param: { name: 'cursor', in: 'query' }, type: 'string', description: '`next_cursor` of the page before' })

/** `?limit=&cursor=`; the handler sees the cursor decoded, as the sort key after which the page begins. */
export const PageQuery = z.object({ limit: Limit, cursor: Cursor })

/** The schema of a list. */
export const listOf = <T extends z.ZodType>(item: T, name: string) =>
  z
    .object({
      items: z.array(item),
      next_cursor: z.string().nullable().describe('Goes into `?cursor=`; null on the last page'),
    })
    .openapi(name)

/**
 * Makes a page of up to `limit` items from `limit + 1` rows, the last of which only tells that there are more.
 * @param keyOf the sort key of a row, as text: the next page begins after it
 */
export function page<Row, Item>(
  rows: readonly Row[],
  limit: number,
  keyOf: (row: Row) => string,
  toItem: (row: Row) => Item,
): { items: Item[]; next_cursor: string | null } {
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  const next_cursor = rows.length > limit && last !== undefined ? encode(keyOf(last)) : null
  return { items: shown.map(toItem), next_cursor }
}

const encode = (key: string) => Buffer.from(key).toString('base64url')
