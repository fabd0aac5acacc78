/** Unix seconds of a stored time, rounded down. */
export const seconds = (at: Date): number => Math.floor(at.getTime() / 1000)

/** Unix seconds, or null where there is no time. */
export const secondsOrNull = (at: Date | null): number | null => (at ? seconds(at) : null)

/** A time to store, from Unix seconds. */
export const date = (unix: number): Date => new Date(unix * 1000)
