import { AppError } from '../errors.ts'

/** A K3s release, e.g. v1.36.3+k3s1 or v1.36.3-rc1+k3s1. */
export type Version = { major: number; minor: number; patch: number; rc: number | undefined; k3s: number }

const form = /^v(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:-rc(\d{1,2}))?\+k3s(\d{1,2})$/

/**
 * Reads a K3s version.
 * @throws AppError `invalid` if it is no release name of K3s
 */
export function parseVersion(text: string): Version {
  const found = form.exec(text)
  if (!found) throw new AppError('invalid', { detail: 'version must be a K3s release such as v1.36.3+k3s1' })
  const [, major, minor, patch, rc, k3s] = found
  return {
    major: Number(major),
    minor: Number(minor),
    patch: Number(patch),
    rc: rc === undefined ? undefined : Number(rc),
    k3s: Number(k3s),
  }
}

/**
 * Orders two versions for `sort`: a release candidate comes before its release.
 * @returns negative, 0 or positive
 * @throws AppError `invalid` if either is no version
 */
export function compareVersions(a: string, b: string): number {
  const [x, y] = [order(parseVersion(a)), order(parseVersion(b))]
  for (let i = 0; i < x.length; i++) {
    const difference = (x[i] as number) - (y[i] as number)
    if (difference !== 0) return difference
  }
  return 0
}

// Above every candidate, whose numbers have two digits.
const noCandidate = 100

// K3s builds rc1+k3s1, rc1+k3s2, …, then the release +k3s1: the candidate number weighs more than the build number.
const order = (v: Version) => [v.major, v.minor, v.patch, v.rc ?? noCandidate, v.k3s]

/**
 * Why nodes may not go from one version to another: Kubernetes skips no minor version and takes no way back
 * (kubernetes.io, "Version Skew Policy").
 * @returns undefined if they may
 * @throws AppError `invalid` if either is no version
 */
export function upgradeProblem(from: string, to: string): string | undefined {
  const [a, b] = [parseVersion(from), parseVersion(to)]
  const order = compareVersions(from, to)
  if (order === 0) return `${to} is what runs already`
  if (order > 0) return `${to} is older than ${from}, and K3s knows no way back`
  if (a.major !== b.major) return `${to} is another major version than ${from}`
  if (b.minor > a.minor + 1) return `${to} skips a minor version: go from ${from} to v${a.major}.${a.minor + 1} first`
  return undefined
}
