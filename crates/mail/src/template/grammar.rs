//! What a template may say: nothing by which a short template makes a long value, or nests so deep that
//! the stack of the process does not suffice.
//!
//! The engine counts the steps of a template, and here not one step of those that are left makes more than it is
//! given: values come of the event, of the template itself, of numbers, and of [filters](super::filters), which
//! are counted. So what joins (`+`, `~`), repeats (`*`) or captures (`{% filter %}`, `{% set %}` of a block) is refused,
//! as are lists of anything but constants, which would hold the same value a thousand times, and slices, which the
//! engine evaluates late and therefore nests.

use minijinja::{
    machinery::{
        Span, Token, WhitespaceConfig,
        ast::{BinOpKind, CallArg, Expr, Stmt},
        parse, tokenize,
    },
    syntax::SyntaxConfig,
};

/// The most tokens between the delimiters of one tag; so deep is its expression at most.
const MAX_TAG_TOKENS: usize = 200;
/// The most `elif` of a template: the engine nests each in the one before.
const MAX_BRANCHES: usize = 100;

/// Something that a template may not say.
#[derive(Debug)]
pub(super) struct Refused {
    /// What it is.
    pub(super) what: &'static str,
    /// The line in which it is, from 1.
    pub(super) line: usize,
}

/// Checks a template; one that is no template at all is left to the engine.
pub(super) fn check(source: &str, whitespace: WhitespaceConfig) -> Result<(), Refused> {
    // First, because the parser itself does not limit these.
    check_depth(source, whitespace)?;
    match parse(source, "", SyntaxConfig, whitespace) {
        Ok(template) => statement(&template),
        Err(_) => Ok(()),
    }
}

fn check_depth(source: &str, whitespace: WhitespaceConfig) -> Result<(), Refused> {
    let (mut in_tag, mut branches) = (0, 0);
    // The parser reads no further than to the first wrong token either.
    for (token, span) in tokenize(source, false, SyntaxConfig, whitespace).map_while(Result::ok) {
        match token {
            Token::VariableStart | Token::BlockStart => in_tag = 0,
            Token::Ident("elif") => branches += 1,
            _ => in_tag += 1,
        }
        if in_tag > MAX_TAG_TOKENS {
            return refuse(span, "a tag of more than 200 words and signs");
        }
        if branches > MAX_BRANCHES {
            return refuse(span, "more than 100 elif");
        }
    }
    Ok(())
}

fn refuse(span: Span, what: &'static str) -> Result<(), Refused> {
    Err(Refused { what, line: span.start_line.into() })
}

fn statements(all: &[Stmt<'_>]) -> Result<(), Refused> {
    all.iter().try_for_each(statement)
}

/// What is assigned to are names: there is nothing to check in them.
fn statement(statement: &Stmt<'_>) -> Result<(), Refused> {
    match statement {
        Stmt::Template(it) => statements(&it.children),
        Stmt::EmitRaw(_) => Ok(()),
        Stmt::EmitExpr(it) => expression(&it.expr),
        Stmt::ForLoop(it) => {
            expression(&it.iter)?;
            it.filter_expr.iter().try_for_each(expression)?;
            statements(&it.body)?;
            statements(&it.else_body)
        }
        Stmt::IfCond(it) => {
            expression(&it.expr)?;
            statements(&it.true_body)?;
            statements(&it.false_body)
        }
        Stmt::WithBlock(it) => {
            it.assignments.iter().try_for_each(|(_, value)| expression(value))?;
            statements(&it.body)
        }
        Stmt::Set(it) => expression(&it.expr),
        Stmt::AutoEscape(it) => {
            expression(&it.enabled)?;
            statements(&it.body)
        }
        Stmt::SetBlock(it) => refuse(it.span(), "a set without a value"),
        Stmt::FilterBlock(it) => refuse(it.span(), "a filter of a block"),
        Stmt::Do(it) => refuse(it.span(), "a call"),
    }
}

fn expression(it: &Expr<'_>) -> Result<(), Refused> {
    match it {
        Expr::Var(_) | Expr::Const(_) => Ok(()),
        Expr::UnaryOp(it) => expression(&it.expr),
        Expr::BinOp(it) => {
            if matches!(it.op, BinOpKind::Add | BinOpKind::Mul | BinOpKind::Concat) {
                return refuse(it.span(), "one of + * ~");
            }
            expression(&it.left)?;
            expression(&it.right)
        }
        Expr::Compare(it) => {
            expression(&it.expr)?;
            it.ops.iter().try_for_each(|it| expression(&it.expr))
        }
        Expr::IfExpr(it) => {
            expression(&it.test_expr)?;
            expression(&it.true_expr)?;
            it.false_expr.iter().try_for_each(expression)
        }
        Expr::Filter(it) => {
            it.expr.iter().try_for_each(expression)?;
            it.args.iter().try_for_each(|argument| self::argument(argument, it.span()))
        }
        Expr::Test(it) => {
            expression(&it.expr)?;
            it.args.iter().try_for_each(|argument| self::argument(argument, it.span()))
        }
        Expr::GetAttr(it) => expression(&it.expr),
        Expr::GetItem(it) => {
            expression(&it.expr)?;
            expression(&it.subscript_expr)
        }
        Expr::List(list) if list.items.iter().all(is_constant) => Ok(()),
        Expr::Map(map) if map.keys.iter().chain(&map.values).all(is_constant) => Ok(()),
        Expr::List(_) | Expr::Map(_) => refuse(it.span(), "a list of other than constants"),
        Expr::Slice(_) => refuse(it.span(), "a slice"),
        Expr::Call(_) => refuse(it.span(), "a call"),
    }
}

fn argument(argument: &CallArg<'_>, span: Span) -> Result<(), Refused> {
    match argument {
        CallArg::Pos(it) | CallArg::Kwarg(_, it) => expression(it),
        CallArg::PosSplat(_) | CallArg::KwargSplat(_) => refuse(span, "an argument with *"),
    }
}

fn is_constant(expression: &Expr<'_>) -> bool {
    matches!(expression, Expr::Const(_))
}
