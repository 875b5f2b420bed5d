//! What stands behind a keyword, read once, when its file is.
//!
//! What always holds: a value that `ssh` would not read is an error here, whether its block applies to a host or not.

use std::borrow::Cow;
use std::sync::Arc;

use super::check;
use super::error::Problem;
use super::jump::{self, Jump};
use super::keyword::{Choices, FLAG, Forwarding, Keyword, Syntax};
use super::operator::Operator;
use super::time;
use super::tokens;

/// A value, in the form in which it is used.
#[derive(Debug)]
pub(super) enum Value {
    Text(Arc<str>),
    /// A word of a choice, as `ssh -G` writes it.
    Choice(&'static str),
    /// A number, or a time in seconds.
    Number(u64),
    Words(Vec<Arc<str>>),
    /// No bastion is `None`.
    Jump(Option<Arc<Jump>>),
    /// A list of algorithms, and what it comes to; `None` if to nothing.
    Algorithms {
        text: Arc<str>,
        names: Option<Arc<str>>,
    },
}

impl Value {
    pub(super) fn as_text(&self) -> Option<&Arc<str>> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn as_choice(&self) -> Option<&'static str> {
        if let Self::Choice(word) = self { Some(word) } else { None }
    }

    pub(super) fn as_number(&self) -> Option<u64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// The bastions; `None` as well if there are to be none.
    pub(super) fn as_jump(&self) -> Option<&Arc<Jump>> {
        if let Self::Jump(jump) = self { jump.as_ref() } else { None }
    }

    /// The value in lower case, to be compared with what is harmless.
    pub(super) fn folded(&self) -> String {
        match self {
            Self::Text(text) => text.to_ascii_lowercase(),
            Self::Choice(word) => (*word).to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Words(words) => words.join(" ").to_ascii_lowercase(),
            Self::Jump(jump) => jump.as_ref().map_or("none", |jump| jump.as_str()).to_owned(),
            Self::Algorithms { text, .. } => text.to_ascii_lowercase(),
        }
    }
}

/// The values of one line, taken one by one.
struct Arguments<'a> {
    keyword: &'a str,
    words: std::vec::IntoIter<String>,
}

impl Arguments<'_> {
    /// The next one, which must be there and not be empty.
    fn one(&mut self) -> Result<String, Problem> {
        self.words.next().filter(|word| !word.is_empty()).ok_or_else(|| self.missing())
    }

    fn missing(&self) -> Problem {
        Problem::Missing { keyword: self.keyword.to_owned() }
    }

    fn bad(&self, value: &str, expected: impl Into<Cow<'static, str>>) -> Problem {
        Problem::Value { keyword: self.keyword.to_owned(), value: value.to_owned(), expected: expected.into() }
    }

    /// All of them, each of which must pass.
    fn each(&mut self, test: impl Fn(&str) -> bool, expected: &'static str) -> Result<Vec<Arc<str>>, Problem> {
        let mut words = Vec::new();
        while let Some(word) = self.words.next() {
            if !test(&word) {
                return Err(self.bad(&word, expected));
            }
            words.push(word.into());
        }
        Ok(words)
    }

    /// All of them; none may be empty, and `none` stands alone.
    fn words(&mut self) -> Result<Vec<Arc<str>>, Problem> {
        let all = self.words.as_slice();
        let empty = all.iter().any(String::is_empty);
        if empty || all.len() > 1 && all.iter().any(|word| word.eq_ignore_ascii_case("none")) {
            return Err(self.bad(&all.join(" "), "one or more words, or none alone"));
        }
        self.each(|_| true, "")
    }

    fn end(&mut self) -> Result<(), Problem> {
        match self.words.next() {
            Some(extra) => Err(Problem::Extra { keyword: self.keyword.to_owned(), extra }),
            None => Ok(()),
        }
    }
}

/// Reads the value of a keyword, which was written as `written`; `None` if it sets nothing, as no words at all do.
///
/// `rest` is what follows the keyword, `words` the same without quotes and comments.
pub(super) fn read(
    keyword: &Keyword,
    written: &str,
    rest: &str,
    words: Vec<String>,
    operator: &Operator,
) -> Result<Option<Value>, Problem> {
    let mut arguments = Arguments { keyword: written, words: words.into_iter() };
    let value = one_value(keyword.syntax, rest, &mut arguments, operator)?;
    arguments.end()?;
    Ok(value)
}

fn one_value(
    syntax: Syntax,
    rest: &str,
    arguments: &mut Arguments<'_>,
    operator: &Operator,
) -> Result<Option<Value>, Problem> {
    let service = |name: &str| operator.service(name);
    Ok(Some(match syntax {
        Syntax::Anything => Value::Words(arguments.each(|_| true, "")?),
        Syntax::Word => Value::Text(arguments.one()?.into()),
        Syntax::Choice(choices) => choice(choices, arguments)?,
        Syntax::Tested(test, expected) => {
            let word = arguments.one()?;
            if !test(&word) {
                return Err(arguments.bad(&word, expected));
            }
            Value::Text(word.into())
        }
        Syntax::Time => match time_or_none(arguments)? {
            Some(seconds) => Value::Number(seconds),
            // As if it were not set, so that a later line may set it.
            None => return Ok(None),
        },
        Syntax::Integer => {
            let word = arguments.one()?;
            let number = time::integer(&word).and_then(|number| u64::try_from(number).ok());
            Value::Number(number.ok_or_else(|| arguments.bad(&word, "a whole number"))?)
        }
        Syntax::Port => {
            let word = arguments.one()?;
            let port = jump::port(&word, &service).ok_or_else(|| arguments.bad(&word, "a port from 1 to 65535"))?;
            Value::Number(u64::from(port))
        }
        Syntax::Words => match arguments.words()? {
            words if words.is_empty() => return Ok(None),
            words => Value::Words(words),
        },
        Syntax::Domains => {
            let words = arguments.words()?;
            if let Some(bad) = words.iter().find(|word| !jump::is_domain(word)) {
                return Err(arguments.bad(bad, "a domain name"));
            }
            Value::Words(words)
        }
        Syntax::EachTested(test, expected) => Value::Words(arguments.each(test, expected)?),
        Syntax::Command => {
            arguments.words = Vec::new().into_iter();
            Value::Text(command(rest).into())
        }
        Syntax::Jump => {
            arguments.words = Vec::new().into_iter();
            let text = command(rest);
            let jump = jump::parse(text, &service);
            let expected = "hops joined by commas, each [user@]host[:port] or ssh://[user@]host[:port]";
            Value::Jump(jump.map_err(|_| arguments.bad(text, expected))?.map(Arc::new))
        }
        Syntax::Agent => {
            let word = arguments.one()?;
            agent(&word, arguments, operator)?;
            Value::Text(word.into())
        }
        Syntax::ForwardAgent => {
            let word = arguments.one()?;
            match chosen(FLAG, &word) {
                Some(choice) => Value::Choice(choice),
                None => {
                    agent(&word, arguments, operator)?;
                    Value::Text(word.into())
                }
            }
        }
        Syntax::AddKeysToAgent => {
            let word = arguments.one()?;
            let limit = arguments.words.next();
            let known =
                ["true", "false", "yes", "no", "ask", "confirm"].iter().any(|it| it.eq_ignore_ascii_case(&word));
            let good = match &limit {
                Some(limit) => word.eq_ignore_ascii_case("confirm") && time::seconds(limit).is_some(),
                None => known || time::seconds(&word).is_some(),
            };
            if !good {
                return Err(arguments.bad(&word, "yes, no, ask, confirm or a time"));
            }
            Value::Text(word.into())
        }
        Syntax::Algorithms(list) => {
            let word = arguments.one()?;
            if !list.reads(&word) {
                return Err(arguments.bad(&word, "names that ssh -Q lists, joined by commas"));
            }
            Value::Algorithms { names: list.assemble(&word), text: word.into() }
        }
        Syntax::Forward(kind) => forward(kind, arguments, operator)?,
        Syntax::PermitRemoteOpen => {
            let all = arguments.words.as_slice();
            let first = all.first().ok_or_else(|| arguments.missing())?.clone();
            if matches!(first.as_str(), "any" | "none") {
                arguments.words.next();
            } else {
                arguments.each(|open| check::permitted_open(open, operator), "host:port")?;
            }
            Value::Text(first.into())
        }
        Syntax::PermittedCnames => {
            let all = arguments.words.as_slice();
            if let [only] = all
                && only.eq_ignore_ascii_case("none")
            {
                return Ok(Some(Value::Words(arguments.each(|_| true, "")?)));
            }
            Value::Words(arguments.each(check::permitted_cname, "*, or sources and targets such as *.a:*.b")?)
        }
        Syntax::RekeyLimit => {
            let bytes = arguments.one()?;
            if !check::rekey_bytes(&bytes) {
                return Err(arguments.bad(&bytes, "default, or bytes such as 1G, at least 16"));
            }
            let mut words = vec![bytes.into()];
            if let [next, ..] = arguments.words.as_slice() {
                words.push(next.as_str().into());
                time_or_none(arguments)?;
            }
            Value::Words(words)
        }
        Syntax::Qos => {
            let first = arguments.words.next().unwrap_or_default();
            let words: Vec<String> = std::iter::once(first).chain(arguments.words.next()).collect();
            if let Some(bad) = words.iter().find(|word| !check::qos(word)) {
                return Err(arguments.bad(bad, "a class such as lowdelay or ef, or a number"));
            }
            Value::Text(words.join(" ").into())
        }
    }))
}

/// What is taken as it stands: quotes and comments are part of it.
fn command(rest: &str) -> &str {
    rest.trim_start_matches([' ', '\t', '\r', '\n', '='])
}

fn choice(choices: Choices, arguments: &mut Arguments<'_>) -> Result<Value, Problem> {
    let word = arguments.one()?;
    chosen(choices, &word).map(Value::Choice).ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        arguments.bad(&word, words.join(", "))
    })
}

fn chosen(choices: Choices, word: &str) -> Option<&'static str> {
    choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, written)| *written)
}

fn time_or_none(arguments: &mut Arguments<'_>) -> Result<Option<u64>, Problem> {
    let word = arguments.one()?;
    if word == "none" {
        return Ok(None);
    }
    time::seconds(&word).map(Some).ok_or_else(|| arguments.bad(&word, "a time such as 30 or 1m30s"))
}

/// Variables must be set already when the file is read; what they hold counts when the agent is used.
fn agent(word: &str, arguments: &Arguments<'_>, operator: &Operator) -> Result<(), Problem> {
    tokens::variables(word, operator)?;
    match word.strip_prefix('$') {
        Some(name) if !name.starts_with('{') && !check::variable_name(name) => {
            Err(arguments.bad(word, "a path, none, SSH_AUTH_SOCK or $NAME"))
        }
        _ => Ok(()),
    }
}

fn forward(kind: Forwarding, arguments: &mut Arguments<'_>, operator: &Operator) -> Result<Value, Problem> {
    let listen = arguments.one()?;
    let target = match kind {
        Forwarding::Dynamic => None,
        Forwarding::Local => Some(arguments.one()?),
        Forwarding::Remote => arguments.words.next().filter(|target| !target.is_empty()),
    };
    let text = match &target {
        Some(target) => format!("{listen}:{target}"),
        None => listen,
    };
    if !check::forwarding(&text, kind, target.is_some(), operator) {
        return Err(arguments.bad(&text, "a forwarding as in ssh_config(5)"));
    }
    Ok(Value::Text(text.into()))
}
