//! A minimal shell: it supports the probes and one-liners that a client sends, and nothing more.
//!
//! Supported: words with quotes and backslashes, `$NAME` and `$?`, `;` and newlines, `&&`, `||`, `|`, `!`, `&`,
//! `if`/`elif`/`else`, `for`/`in`, `( … )` and `{ …; }`, redirections to `/dev/null` and between 1 and 2. Rejected with
//! a message and exit code 2: substitutions, globs, functions, assignments before a command, pipes of more than two
//! commands. Invariants: nothing of the real machine is read, written or run.

use std::collections::HashMap;
use std::future::Future;
use std::iter::Peekable;
use std::pin::Pin;

use crate::commands::{self, Context};
use crate::streams::Io;

/// A part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A variable; the flag means that it was quoted, so that it is not split.
    Var(String, bool),
}

type Word = Vec<Piece>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(Word),
    Op(&'static str),
}

/// The target of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Redirect {
    OutNull,
    ErrNull,
    ErrToOut,
    OutToErr,
    In,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Script {
    Simple(Vec<Word>, Vec<Redirect>),
    Not(Box<Script>),
    And(Box<Script>, Box<Script>),
    Or(Box<Script>, Box<Script>),
    Pipe(Box<Script>, Box<Script>),
    Seq(Vec<Script>),
    Background(Box<Script>),
    If(Vec<(Script, Script)>, Option<Box<Script>>),
    For(String, Vec<Word>, Box<Script>),
}

/// Longest first, so that `&&` is not read as two `&`.
const OPERATORS: [&str; 13] = ["2>&1", "1>&2", ">&2", "2>", "1>", "&&", "||", "|", ";", "&", ">", "<", "\n"];

fn lex(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut word: Option<Word> = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let fresh = word.is_none();
        let operator = OPERATORS.iter().find(|op| rest.starts_with(**op) && (fresh || !op.starts_with(['1', '2'])));
        if let Some(op) = operator {
            tokens.extend(word.take().map(Token::Word));
            tokens.push(Token::Op(op));
            rest = &rest[op.len()..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            ' ' | '\t' => tokens.extend(word.take().map(Token::Word)),
            '#' if fresh => rest = rest.find('\n').map_or("", |at| &rest[at..]),
            '`' => return Err("a substitution is not simulated by the lab".to_owned()),
            '(' | ')' => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(Token::Op(if c == '(' { "(" } else { ")" }));
            }
            '\'' => {
                let end = rest.find('\'').ok_or("Unterminated quoted string")?;
                push(&mut word, &rest[..end]);
                rest = &rest[end + 1..];
            }
            '"' => rest = double_quoted(rest, &mut word)?,
            '\\' => {
                let Some(next) = rest.chars().next() else {
                    continue;
                };
                rest = &rest[next.len_utf8()..];
                if next != '\n' {
                    push(&mut word, next.encode_utf8(&mut [0; 4]));
                }
            }
            '$' => rest = variable(rest, &mut word, false)?,
            c => push(&mut word, c.encode_utf8(&mut [0; 4])),
        }
    }
    tokens.extend(word.map(Token::Word));
    Ok(tokens)
}

fn push(word: &mut Option<Word>, text: &str) {
    let word = word.get_or_insert_default();
    if let Some(Piece::Text(last)) = word.last_mut() {
        last.push_str(text);
    } else {
        word.push(Piece::Text(text.to_owned()));
    }
}

fn double_quoted<'a>(mut rest: &'a str, word: &mut Option<Word>) -> Result<&'a str, String> {
    push(word, "");
    loop {
        let c = rest.chars().next().ok_or("Unterminated quoted string")?;
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => return Ok(rest),
            '\\' => {
                let next = rest.chars().next().ok_or("Unterminated quoted string")?;
                rest = &rest[next.len_utf8()..];
                if !matches!(next, '$' | '`' | '"' | '\\') {
                    push(word, "\\");
                }
                push(word, next.encode_utf8(&mut [0; 4]));
            }
            '$' => rest = variable(rest, word, true)?,
            '`' => return Err("a substitution is not simulated by the lab".to_owned()),
            c => push(word, c.encode_utf8(&mut [0; 4])),
        }
    }
}

fn variable<'a>(rest: &'a str, word: &mut Option<Word>, quoted: bool) -> Result<&'a str, String> {
    if rest.starts_with('(') {
        return Err("a substitution is not simulated by the lab".to_owned());
    }
    let (name, rest) = if let Some(inner) = rest.strip_prefix('{') {
        let end = inner.find('}').ok_or("bad substitution")?;
        (&inner[..end], &inner[end + 1..])
    } else if rest.starts_with(['?', '$', '#', '@', '*', '0', '1', '2', '3']) {
        rest.split_at(1)
    } else {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        rest.split_at(end)
    };
    if name.is_empty() {
        push(word, "$");
    } else {
        let piece = Piece::Var(name.to_owned(), quoted);
        word.get_or_insert_default().push(piece);
    }
    Ok(rest)
}

type Tokens = Peekable<std::vec::IntoIter<Token>>;

fn literal(token: Option<&Token>) -> Option<&str> {
    match token? {
        Token::Op(op) => Some(op),
        Token::Word(word) => match word.as_slice() {
            [Piece::Text(text)] => Some(text),
            _ => None,
        },
    }
}

fn skip_separators(tokens: &mut Tokens) {
    while matches!(tokens.peek(), Some(Token::Op(";" | "\n"))) {
        tokens.next();
    }
}

fn expect(tokens: &mut Tokens, what: &str) -> Result<(), String> {
    skip_separators(tokens);
    let found = tokens.next();
    match literal(found.as_ref()) {
        Some(text) if text == what => Ok(()),
        _ => Err(format!("Syntax error: expecting \"{what}\"")),
    }
}

/// A list up to one of the closing words, which stays unread.
fn list(tokens: &mut Tokens, closing: &[&str]) -> Result<Script, String> {
    let mut all = Vec::new();
    loop {
        skip_separators(tokens);
        let next = tokens.peek();
        if next.is_none() || literal(next).is_some_and(|text| closing.contains(&text)) {
            break;
        }
        let mut script = and_or(tokens)?;
        if matches!(tokens.peek(), Some(Token::Op("&"))) {
            tokens.next();
            script = Script::Background(Box::new(script));
        }
        all.push(script);
    }
    Ok(Script::Seq(all))
}

fn pipe(tokens: &mut Tokens) -> Result<Script, String> {
    let left = command(tokens)?;
    if !matches!(tokens.peek(), Some(Token::Op("|"))) {
        return Ok(left);
    }
    tokens.next();
    Ok(Script::Pipe(Box::new(left), Box::new(command(tokens)?)))
}

fn and_or(tokens: &mut Tokens) -> Result<Script, String> {
    let mut left = pipe(tokens)?;
    loop {
        let op = match tokens.peek() {
            Some(Token::Op(op @ ("&&" | "||"))) => *op,
            _ => return Ok(left),
        };
        tokens.next();
        while matches!(tokens.peek(), Some(Token::Op("\n"))) {
            tokens.next();
        }
        let right = Box::new(pipe(tokens)?);
        left = if op == "&&" { Script::And(Box::new(left), right) } else { Script::Or(Box::new(left), right) };
    }
}

fn command(tokens: &mut Tokens) -> Result<Script, String> {
    match literal(tokens.peek()) {
        Some("!") => {
            tokens.next();
            Ok(Script::Not(Box::new(command(tokens)?)))
        }
        Some(open @ ("(" | "{")) => {
            let close = if open == "(" { ")" } else { "}" };
            tokens.next();
            let inner = list(tokens, &[close])?;
            expect(tokens, close)?;
            Ok(inner)
        }
        Some("if") => conditional(tokens),
        Some("for") => {
            tokens.next();
            let Some(name) = literal(tokens.next().as_ref()).map(str::to_owned) else {
                return Err("Syntax error: Bad for loop variable".to_owned());
            };
            expect(tokens, "in")?;
            let mut words = Vec::new();
            while let Some(Token::Word(word)) = tokens.next_if(|t| matches!(t, Token::Word(_))) {
                words.push(word);
            }
            expect(tokens, "do")?;
            let body = list(tokens, &["done"])?;
            expect(tokens, "done")?;
            Ok(Script::For(name, words, Box::new(body)))
        }
        _ => simple(tokens),
    }
}

fn conditional(tokens: &mut Tokens) -> Result<Script, String> {
    let mut arms = Vec::new();
    loop {
        tokens.next();
        let test = list(tokens, &["then"])?;
        expect(tokens, "then")?;
        let body = list(tokens, &["elif", "else", "fi"])?;
        arms.push((test, body));
        if literal(tokens.peek()) != Some("elif") {
            break;
        }
    }
    let otherwise = if literal(tokens.peek()) == Some("else") {
        tokens.next();
        Some(Box::new(list(tokens, &["fi"])?))
    } else {
        None
    };
    expect(tokens, "fi")?;
    Ok(Script::If(arms, otherwise))
}

fn simple(tokens: &mut Tokens) -> Result<Script, String> {
    let (mut words, mut redirects) = (Vec::new(), Vec::new());
    while let Some(token) = tokens.peek() {
        match token {
            Token::Word(_) => {
                if let Some(Token::Word(word)) = tokens.next() {
                    words.push(word);
                }
            }
            Token::Op(op @ (">" | "1>" | "2>" | "<")) => {
                let op = *op;
                tokens.next();
                let target = tokens.next();
                if literal(target.as_ref()) != Some("/dev/null") {
                    return Err("a redirection to a file is not simulated by the lab".to_owned());
                }
                redirects.push(match op {
                    "2>" => Redirect::ErrNull,
                    "<" => Redirect::In,
                    _ => Redirect::OutNull,
                });
            }
            Token::Op("2>&1") => {
                tokens.next();
                redirects.push(Redirect::ErrToOut);
            }
            Token::Op(">&2" | "1>&2") => {
                tokens.next();
                redirects.push(Redirect::OutToErr);
            }
            Token::Op(_) => break,
        }
    }
    if words.is_empty() && redirects.is_empty() {
        let found = literal(tokens.peek()).unwrap_or("end of file").replace('\n', "newline");
        return Err(format!("Syntax error: \"{found}\" unexpected"));
    }
    Ok(Script::Simple(words, redirects))
}

fn parse(text: &str) -> Result<Script, String> {
    let mut tokens = lex(text)?.into_iter().peekable();
    let script = list(&mut tokens, &[])?;
    match tokens.next() {
        None => Ok(script),
        Some(_) => Err("Syntax error: unexpected token".to_owned()),
    }
}

/// The state of a script: variables, the last exit code, whether it called `exit`.
#[derive(Debug, Clone, Default)]
struct Env {
    vars: HashMap<String, String>,
    last: i32,
    exit: bool,
}

impl Env {
    fn get(&self, name: &str, context: &Context) -> String {
        match name {
            "?" => self.last.to_string(),
            "$" => "4242".to_owned(),
            "0" => "sh".to_owned(),
            "#" => "0".to_owned(),
            "USER" | "LOGNAME" => context.effective_user().to_owned(),
            "HOME" => context.home(),
            "HOSTNAME" => context.node.shared.spec.name.clone(),
            name => self.vars.get(name).cloned().unwrap_or_default(),
        }
    }

    fn expand_all(&self, words: &[Word], context: &Context) -> Vec<String> {
        let mut values = Vec::new();
        for word in words {
            self.expand(word, context, &mut values);
        }
        values
    }

    /// Expands a word. An unquoted variable is split at spaces and may expand to nothing.
    fn expand(&self, word: &Word, context: &Context, out: &mut Vec<String>) {
        let mut current: Option<String> = None;
        for piece in word {
            match piece {
                Piece::Text(text) => current.get_or_insert_default().push_str(text),
                Piece::Var(name, true) => {
                    let value = self.get(name, context);
                    current.get_or_insert_default().push_str(&value);
                }
                Piece::Var(name, false) => {
                    let value = self.get(name, context);
                    let mut parts = value.split_whitespace();
                    if let Some(first) = parts.next() {
                        current.get_or_insert_default().push_str(first);
                    }
                    for part in parts {
                        out.extend(current.replace(part.to_owned()));
                    }
                }
            }
        }
        out.extend(current);
    }
}

/// Runs a command line and returns its exit code.
pub(crate) fn run<'a>(
    context: &'a Context,
    io: &'a Io,
    text: &'a str,
) -> Pin<Box<dyn Future<Output = i32> + Send + 'a>> {
    Box::pin(async move {
        match parse(text) {
            Ok(script) => {
                let mut env = Env { vars: context.environment.as_ref().clone(), ..Env::default() };
                eval(&script, context, io, &mut env).await
            }
            Err(message) => {
                io.err(&format!("sh: 1: {message}\n")).await;
                2
            }
        }
    })
}

fn eval<'a>(
    script: &'a Script,
    context: &'a Context,
    io: &'a Io,
    env: &'a mut Env,
) -> Pin<Box<dyn Future<Output = i32> + Send + 'a>> {
    Box::pin(async move {
        let code = match script {
            Script::Simple(words, redirects) => {
                let argv = env.expand_all(words, context);
                one(&argv, context, &redirected(io, redirects), env).await
            }
            Script::Not(inner) => i32::from(eval(inner, context, io, env).await == 0),
            Script::And(a, b) => match eval(a, context, io, env).await {
                0 if !env.exit => eval(b, context, io, env).await,
                code => code,
            },
            Script::Or(a, b) => match eval(a, context, io, env).await {
                code if code != 0 && !env.exit => eval(b, context, io, env).await,
                code => code,
            },
            Script::Pipe(left, right) => {
                let (reader, writer) = io.pipe();
                let (mut before, mut after) = (env.clone(), env.clone());
                let left = async {
                    // The pipe ends when its writer is dropped.
                    let writer = writer;
                    eval(left, context, &writer, &mut before).await
                };
                tokio::join!(left, eval(right, context, &reader, &mut after)).1
            }
            Script::Seq(all) => {
                let mut code = 0;
                for script in all {
                    code = eval(script, context, io, env).await;
                    if env.exit {
                        break;
                    }
                }
                code
            }
            Script::Background(inner) => {
                let (inner, context, io) = ((**inner).clone(), context.clone(), io.no_input());
                let mut env = env.clone();
                let jobs = context.jobs.clone();
                let job = tokio::spawn(async move { eval(&inner, &context, &io, &mut env).await });
                jobs.iter().for_each(|jobs| jobs.add(job.abort_handle()));
                0
            }
            Script::If(arms, otherwise) => branch(arms, otherwise.as_deref(), context, io, env).await,
            Script::For(name, words, body) => {
                let mut code = 0;
                for value in env.expand_all(words, context) {
                    env.vars.insert(name.clone(), value);
                    code = eval(body, context, io, env).await;
                    if env.exit {
                        break;
                    }
                }
                code
            }
        };
        env.last = code;
        code
    })
}

/// `if`: the first arm whose test succeeds, else the `else` part.
async fn branch(
    arms: &[(Script, Script)],
    otherwise: Option<&Script>,
    context: &Context,
    io: &Io,
    env: &mut Env,
) -> i32 {
    for (test, body) in arms {
        let code = eval(test, context, io, env).await;
        if env.exit {
            return code;
        }
        if code == 0 {
            return eval(body, context, io, env).await;
        }
    }
    match otherwise {
        Some(body) => eval(body, context, io, env).await,
        None => 0,
    }
}

/// The streams of a command with its redirections.
fn redirected(io: &Io, redirects: &[Redirect]) -> Io {
    redirects.iter().fold(io.clone(), |io, redirect| match redirect {
        Redirect::OutNull => io.out_null(),
        Redirect::ErrNull => io.err_null(),
        Redirect::ErrToOut => io.err_to_out(),
        Redirect::OutToErr => io.out_to_err(),
        Redirect::In => io.no_input(),
    })
}

async fn one(argv: &[String], context: &Context, io: &Io, env: &mut Env) -> i32 {
    match argv {
        [] => 0,
        [assignment] if is_assignment(assignment) => {
            if let Some((name, value)) = assignment.split_once('=') {
                env.vars.insert(name.to_owned(), value.to_owned());
            }
            0
        }
        [exit, rest @ ..] if exit == "exit" => {
            env.exit = true;
            rest.first().and_then(|c| c.parse().ok()).unwrap_or(env.last)
        }
        argv => commands::run(context, io, argv).await,
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_that_are_not_understood_are_refused() {
        for bad in ["a | b | c", "echo `x`", "echo $(x)", "echo 'x", "if true; then", "echo > /tmp/x", "&& a"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for good in [
            "",
            "{ a 2>&1 </dev/null; echo $?; } | { trap \"\" PIPE; cat; cat >/dev/null; }",
            "true",
            "test -S /a && echo yes || echo no",
            "if [ -S /a ]; then echo a; elif true; then echo b; else echo c; fi",
            "for s in /a /b; do test -S \"$s\" && { echo $s; exit 0; }; done",
            "setsid sh -c 'x; y' </dev/null >/dev/null 2>&1 &",
            "! false # comment",
        ] {
            assert!(parse(good).is_ok(), "{good}: {:?}", parse(good));
        }
    }

    #[test]
    fn words_keep_what_stands_in_quotes() {
        let tokens = lex(r#"echo 'a b'"c \"d\""\ e 2>/dev/null x2>/dev/null"#);
        let words: Vec<_> = tokens.iter().flatten().map(|t| literal(Some(t)).unwrap_or("").to_owned()).collect();
        assert_eq!(words, ["echo", "a bc \"d\" e", "2>", "/dev/null", "x2", ">", "/dev/null"]);
    }
}
