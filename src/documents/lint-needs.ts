import Handlebars from 'handlebars'
import type { LintProblem } from './input.ts'
import type { Role } from './profile.ts'
import type { Program } from './syntax.ts'

type Need = { path: string; role?: Role; or: string }

/** What rollcall-node reads from the files of a document, and what comes of it where a template does not write it. */
const needs: readonly Need[] = [
  ...['server.url', 'server.pins', 'server.audience', 'secret.report_url', 'enrollment.id', 'device.serial'].map(
    (path) => ({ path, or: 'nothing is installed' }),
  ),
  { path: 'k3s.config', or: 'nothing is installed' },
  { path: 'secret.node_password', or: 'a node that is installed again is refused by its old cluster' },
  { path: 'k3s.firewall.ports', or: 'firewalls stay shut' },
  { path: 'k3s.firewall.networks', or: 'firewalls stay shut' },
  { path: 'k3s.token', role: 'agent', or: 'nothing is installed' },
  { path: 'secret.join', role: 'server', or: 'no server gets into its cluster' },
  { path: 'secret.node', role: 'server', or: 'its cluster publishes no join tokens and tells no Nodes' },
  { path: 'k3s.files', role: 'server', or: "the datastore's certificates are missing" },
  { path: 'cluster.api_endpoint', role: 'server', or: 'embedded etcd stays with its first server' },
]

/** Of an own template that brings rollcall-node: what that reads and the template writes nowhere, as in a copy that was made before Rollcall knew it. */
export function lintNeeds(program: Program, role: Role): LintProblem[] {
  const words = new Words()
  words.accept(program)
  if (!['rollcall-node.sh', 'rollcall-agent.sh'].some((file) => words.texts.has(file))) return []
  return needs
    .filter((need) => (need.role ?? role) === role && !words.paths.has(need.path))
    .map(({ path, or }) => ({
      severity: 'warning',
      code: 'not_written',
      message: `${path} is written nowhere: ${or}. Compare with the built-in templates (docs/templates.md)`,
    }))
}

class Words extends Handlebars.Visitor {
  readonly paths = new Set<string>()
  readonly texts = new Set<string>()

  override PathExpression({ parts }: hbs.AST.PathExpression): void {
    this.paths.add((parts[0] === 'root' ? parts.slice(1) : parts).join('.'))
  }

  override StringLiteral({ value }: hbs.AST.StringLiteral): void {
    this.texts.add(value)
  }
}
