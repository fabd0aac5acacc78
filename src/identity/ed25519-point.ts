// RFC 8032 §5.1: -x² + y² = 1 + d·x²·y² over p; a key is y, 255 bits little-endian, and the sign of x.
const p = 2n ** 255n - 19n
const d = 37095705934669439343138083508754565189542113879843219016388785533085940283555n

// Points of order 1, 2, 4 and 8 by their y: under such a key a signature can be made up without any private one.
const order8 = 2707385501144840649318225287225658788936804267575313519463743609750303021385n
const small = [0n, 1n, p - 1n, order8, p - order8]

/** Whether 32 bytes are a public key with which OpenSSL can verify something, and only its owner sign. */
export function isOnEd25519(bytes: Uint8Array): boolean {
  const y = BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`) & (2n ** 255n - 1n)
  if (y >= p || small.includes(y)) return false
  const y2 = (y * y) % p
  // x² = (y² - 1) / (d·y² + 1); a quotient is a square where the product is, so no inverse is needed.
  return isSquare(((y2 - 1n + p) * (d * y2 + 1n)) % p)
}

// Euler's criterion.
function isSquare(n: bigint): boolean {
  return n === 0n || power(n, (p - 1n) / 2n) === 1n
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n
  for (let square = base, e = exponent; e > 0n; e >>= 1n, square = (square * square) % p) {
    if (e & 1n) result = (result * square) % p
  }
  return result
}
