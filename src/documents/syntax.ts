import Handlebars from 'handlebars'
import type { Reason } from './template-error.ts'

export type Program = hbs.AST.Program

/** Names through which JavaScript reaches beyond plain data. */
const forbidden = new Set([
  '__proto__',
  'constructor',
  'prototype',
  '__defineGetter__',
  '__defineSetter__',
  '__lookupGetter__',
  '__lookupSetter__',
])

/**
 * What a template must not contain: partials and decorators (an inline partial may call itself until the stack ends), helpers that are
 * not ours, blocks on a bare variable, paths into JavaScript's own properties.
 */
export function checkSyntax(program: Program, helpers: readonly string[]): Reason[] {
  const check = new Check(new Set(helpers))
  check.accept(program)
  return check.problems
}

/**
 * Prepares a checked template. What stands where text does gets a name of its own: there a mark can stand for it (marks.ts), while an argument needs the
 * text. A bare variable becomes a helper's argument, so that it is counted like all else. And what follows the tags of `block` and `dataUrl` on the next
 * line begins there: Handlebars itself drops the line end only after tags that have a line of their own.
 */
export function prepareSyntax(program: Program, inPlace: InPlace): void {
  new Prepare(inPlace).accept(program)
}

/** What is called in place of text: of some helpers their own twin, of all others what takes their result. No template can say these names. */
export type InPlace = Record<'variable' | 'result' | 'yaml' | 'json' | 'dataUrl' | 'file', string>

class Prepare extends Handlebars.Visitor {
  private readonly inPlace: InPlace

  constructor(inPlace: InPlace) {
    super()
    this.inPlace = inPlace
  }

  override MustacheStatement(node: hbs.AST.MustacheStatement): void {
    const { path, params, hash, loc } = node
    const name = nameOf(path)
    if (params.length === 0) {
      // As strict as it was: what a helper is given may be missing.
      node.params = [Object.assign(path, { strict: true })]
      node.path = pathTo(this.inPlace.variable, loc)
    } else if (name !== 'variable' && name !== 'result' && Object.hasOwn(this.inPlace, name)) {
      node.path = pathTo(this.inPlace[name as keyof InPlace], loc)
    } else {
      const inner: hbs.AST.SubExpression = {
        type: 'SubExpression',
        path: path as hbs.AST.PathExpression,
        params,
        hash,
        loc,
      }
      node.params = [inner]
      node.path = pathTo(this.inPlace.result, loc)
    }
  }

  override BlockStatement(node: hbs.AST.BlockStatement): void {
    const first = node.program?.body[0]
    const name = nameOf(node.path)
    if ((name === 'block' || name === 'dataUrl') && first?.type === 'ContentStatement') {
      const content = first as hbs.AST.ContentStatement
      content.value = content.value.replace(/^\r?\n/, '')
    }
    super.BlockStatement(node)
  }
}

const pathTo = (name: string, loc: hbs.AST.SourceLocation): hbs.AST.PathExpression => ({
  type: 'PathExpression',
  data: false,
  depth: 0,
  parts: [name],
  original: name,
  loc,
})

const nameOf = (path: hbs.AST.Expression | hbs.AST.Literal) => String((path as hbs.AST.PathExpression).original)

class Check extends Handlebars.Visitor {
  readonly problems: Reason[] = []
  private readonly helpers: ReadonlySet<string>

  constructor(helpers: ReadonlySet<string>) {
    super()
    this.helpers = helpers
  }

  override PartialStatement(node: hbs.AST.PartialStatement): void {
    this.refuse(node, 'partial', 'partials are not allowed')
  }

  override PartialBlockStatement(node: hbs.AST.PartialBlockStatement): void {
    this.refuse(node, 'partial', 'partials are not allowed')
  }

  override Decorator(node: hbs.AST.Decorator): void {
    this.refuse(node, 'decorator', 'decorators and inline partials are not allowed')
  }

  override DecoratorBlock(node: hbs.AST.DecoratorBlock): void {
    this.refuse(node, 'decorator', 'decorators and inline partials are not allowed')
  }

  override MustacheStatement(node: hbs.AST.MustacheStatement): void {
    if (node.params.length > 0 || node.hash) this.call(node, node.path)
    else if (node.path.type !== 'PathExpression') this.refuse(node, 'literal', 'a tag names a variable or a helper')
    super.MustacheStatement(node)
  }

  override BlockStatement(node: hbs.AST.BlockStatement): void {
    this.call(node, node.path)
    super.BlockStatement(node)
  }

  override SubExpression(node: hbs.AST.SubExpression): void {
    this.call(node, node.path)
    super.SubExpression(node)
  }

  override PathExpression(node: hbs.AST.PathExpression): void {
    const part = node.parts.find((name) => forbidden.has(name))
    if (part) this.refuse(node, 'path', `${node.original} reaches beyond plain data`)
  }

  override Hash(node: hbs.AST.Hash): void {
    this.refuse(node, 'named_argument', 'no helper takes named arguments')
  }

  private call(node: hbs.AST.Node, path: hbs.AST.Expression): void {
    const name = nameOf(path)
    if (!this.helpers.has(name)) this.refuse(node, 'unknown_helper', `there is no helper ${name}`)
  }

  private refuse(node: hbs.AST.Node, code: string, message: string): void {
    this.problems.push({ code, message, line: node.loc.start.line })
  }
}
