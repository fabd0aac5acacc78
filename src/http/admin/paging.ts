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

const cursor = (form: RegExp) =>
  z
    .string()
    .max(1_024)
    .transform((text, issues) => {
      const key = Buffer.from(text, 'base64url').toString('utf8')
      if (encode(key) === text && form.test(key)) return key
      issues.addIssue({ code: 'custom', message: 'not a cursor of this list' })
      return z.NEVER
    })
    .optional()
    .openapi({
      param: { name: 'cursor', in: 'query' },
      type: 'string',
      description: '`next_cursor` of the page before',
    })

/** `?limit=&cursor=`; the handler sees the cursor decoded, as the sort key after which the page begins. */
export const PageQuery = z.object({ limit: Limit, cursor: cursor(/^[^\0]+$/) })

/** For lists whose sort key is a number; the cursor is its digits. */
export const NumberedPageQuery = z.object({ limit: Limit, cursor: cursor(/^\d{1,15}$/) })

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
export function page<Row>(
  rows: readonly Row[],
  limit: number,
  keyOf: (row: Row) => string,
): { items: Row[]; next_cursor: string | null } {
  const items = rows.slice(0, limit)
  const last = items.at(-1)
  return { items, next_cursor: rows.length > limit && last !== undefined ? encode(keyOf(last)) : null }
}

const encode = (key: string) => Buffer.from(key).toString('base64url')
