import { and, eq, isNull } from 'drizzle-orm'
import type { Drizzle } from './database.ts'
import { identities } from './schema.ts'

/** A key as `identity/public-key.ts` gives it. */
export type Pin = { thumbprint: string; jwk: Record<string, string> | null }

export async function liveIdentity(tx: Drizzle, deviceId: string): Promise<Pin | undefined> {
  const [row] = await tx
    .select({ thumbprint: identities.thumbprint, jwk: identities.jwk })
    .from(identities)
    .where(and(eq(identities.deviceId, deviceId), isNull(identities.endedAt)))
  return row
}

/** @throws 23505 `identities_live_thumbprint` when the key is another device's */
export async function pinIdentity(tx: Drizzle, deviceId: string, at: Date, pin: Pin): Promise<void> {
  await tx.insert(identities).values({ deviceId, thumbprint: pin.thumbprint, jwk: pin.jwk, createdAt: at })
}

export async function endIdentity(tx: Drizzle, deviceId: string, at: Date): Promise<void> {
  await tx
    .update(identities)
    .set({ endedAt: at })
    .where(and(eq(identities.deviceId, deviceId), isNull(identities.endedAt)))
}
