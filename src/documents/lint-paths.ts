import Handlebars from 'handlebars'
import { follow, type Shape } from './shape.ts'
import type { Program } from './syntax.ts'
import type { Reason } from './template-error.ts'

/** Every path of a template that cannot exist, or may not, whichever branch it stands in: rendering alone would see one branch. */
export function lintPaths(program: Program, shape: Shape): Reason[] {
  const walk = new Walk(shape)
  walk.accept(program)
  return walk.problems
}

type Scope = { shape: Shape; params: ReadonlyMap<string, Shape>; looping: boolean }

const loopData = new Set(['key', 'index', 'first', 'last'])

class Walk extends Handlebars.Visitor {
  readonly problems: Reason[] = []
  private readonly root: Shape
  private scopes: Scope[]

  constructor(root: Shape) {
    super()
    this.root = root
    this.scopes = [{ shape: root, params: new Map(), looping: false }]
  }

  override MustacheStatement(node: hbs.AST.MustacheStatement): void {
    if (node.params.length === 0) this.accept(node.path)
    else this.acceptArray(node.params)
  }

  override SubExpression(node: hbs.AST.SubExpression): void {
    this.acceptArray(node.params)
  }

  override BlockStatement(node: hbs.AST.BlockStatement): void {
    this.acceptArray(node.params)
    const name = (node.path as hbs.AST.PathExpression).original
    const inner = name === 'each' || name === 'with' ? this.enter(node, name) : undefined
    if (inner) this.scopes.unshift(inner)
    if (node.program) this.accept(node.program)
    if (inner) this.scopes.shift()
    if (node.inverse) this.accept(node.inverse)
  }

  override PathExpression(node: hbs.AST.PathExpression): void {
    this.reach(node, true)
  }

  private enter(node: hbs.AST.BlockStatement, name: 'each' | 'with'): Scope {
    const subject = node.params[0]
    const shape = subject?.type === 'PathExpression' ? this.reach(subject as hbs.AST.PathExpression, false) : 'any'
    const inner = name === 'with' ? shape : elementOf(shape)
    const [item, key] = node.program?.blockParams ?? []
    const params = new Map(this.scopes[0]?.params)
    if (item !== undefined) params.set(item, inner)
    if (key !== undefined) params.set(key, 'scalar')
    return { shape: inner, params, looping: name === 'each' || (this.scopes[0]?.looping ?? false) }
  }

  private reach(node: hbs.AST.PathExpression, tell: boolean): Shape {
    const scope = this.scopes[node.depth]
    if (!scope)
      return this.lost(node, tell, { code: 'unknown_variable', why: 'there are not that many blocks around it' })
    const [first, ...rest] = node.parts
    if (node.data) return this.data(node, tell, scope)
    const param = node.depth === 0 && first !== undefined ? scope.params.get(first) : undefined
    const reached = param ? follow(param, rest) : follow(scope.shape, node.parts)
    return 'shape' in reached ? reached.shape : this.lost(node, tell, reached)
  }

  private data(node: hbs.AST.PathExpression, tell: boolean, scope: Scope): Shape {
    const [first, ...rest] = node.parts
    if (first === 'root') {
      const reached = follow(this.root, rest)
      return 'shape' in reached ? reached.shape : this.lost(node, tell, reached)
    }
    if (scope.looping && loopData.has(String(first))) return 'scalar'
    return this.lost(node, tell, { code: 'unknown_variable', why: 'there is no such thing here' })
  }

  private lost(node: hbs.AST.PathExpression, tell: boolean, { code, why }: { code: string; why: string }): Shape {
    if (tell) this.problems.push({ code, message: `${node.original}: ${why}`, line: node.loc.start.line })
    return 'any'
  }
}

function elementOf(shape: Shape): Shape {
  if (typeof shape === 'string') return 'any'
  if ('list' in shape) return shape.list
  if ('names' in shape) return shape.names
  return 'any'
}
