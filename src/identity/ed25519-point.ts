// RFC 8032 §5.1: -x² + y² = 1 + d·x²·y² over p; a key is y, 255 bits little-endian, and the sign of x.
const p = 2n ** 255n - 19n
const d = 37095705934669439343138083508754565189542113879843219016388785533085940283555n

/** Whether 32 bytes are a public key with which OpenSSL can verify something, and for which only its owner can sign. */
export function isOnEd25519(bytes: Uint8Array): boolean {
  const y = BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`) & (2n ** 255n - 1n)
  if (y >= p) return false
  const y2 = (y * y) % p
  // x² = (y² - 1) / (d·y² + 1); a quotient is a square where the product is, so no inverse is needed.
  return !hasSmallOrder(y2) && isSquare(((y2 - 1n + p) * (d * y2 + 1n)) % p)
}

// Under such a key a signature can be made up without any private one. Order 1 and 2 have y = ±1, order 4 has y = 0; doubled,
// a point of order 8 has y = 0, so y² + x² = 0, which in the curve's equation gives d·y⁴ + 2·y² - 1 = 0.
function hasSmallOrder(y2: bigint): boolean {
  return y2 <= 1n || (d * y2 * y2 + 2n * y2 - 1n) % p === 0n
}

// Euler's criterion; zero, which is its own root, was ruled out with the small orders.
function isSquare(n: bigint): boolean {
  return power(n, (p - 1n) / 2n) === 1n
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n
  for (let square = base, e = exponent; e > 0n; e >>= 1n, square = (square * square) % p) {
    if (e & 1n) result = (result * square) % p
  }
  return result
}
