/**
 * Seals secrets at rest with AES-256-GCM under a key that is outside the database.
 * `place` names row and column, e.g. `enrollments/enr_…/document`, and is authenticated: a sealed value moved to another row does not open.
 */
export interface Vault {
  /** The result carries the key's id, so that keys can be rotated. */
  seal(place: string, plaintext: Uint8Array | string): Uint8Array
  /** @throws Error if the value was not sealed for this place under a key that this server holds */
  open(place: string, sealed: Uint8Array): Buffer
}
