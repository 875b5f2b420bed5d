//! The value of a keyword, read once, together with its file.
//!
//! Invariants: a value that `ssh` would not read is an error here, whether its block applies to a host or not.

use std::borrow::Cow;
use std::sync::Arc;

use super::algorithms::AlgorithmKind;
use super::check;
use super::check::ForwardingKind;
use super::error::ConfigProblem;
use super::jump::{self, JumpHosts};
use super::keyword::{FLAG, KeywordEntry, ValueChoices, ValueSyntax};
use super::operator::OperatorEnv;
use super::time;
use super::tokens;

/// A value, in the form in which it is used.
#[derive(Debug)]
pub(crate) enum ConfigValue {
    Text(Arc<str>),
    /// A word of a choice, as `ssh -G` writes it.
    Choice(&'static str),
    /// A number, or a time in seconds.
    Number(u64),
    Words(Vec<Arc<str>>),
    /// No bastion is `None`.
    Jump(Option<Arc<JumpHosts>>),
    /// A list of algorithms, and what it comes to; `None` if to nothing.
    Algorithms {
        text: Arc<str>,
        names: Option<Arc<str>>,
    },
}

impl ConfigValue {
    pub(crate) fn as_text(&self) -> Option<&Arc<str>> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(crate) fn as_choice(&self) -> Option<&'static str> {
        if let Self::Choice(word) = self { Some(word) } else { None }
    }

    pub(crate) fn as_number(&self) -> Option<u64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// The bastions; `None` as well if there are to be none.
    pub(crate) fn as_jump(&self) -> Option<&Arc<JumpHosts>> {
        if let Self::Jump(jump) = self { jump.as_ref() } else { None }
    }

    /// The value in lower case, to be compared with the harmless values.
    pub(crate) fn folded(&self) -> String {
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
struct LineArguments<'a> {
    keyword: &'a str,
    words: std::vec::IntoIter<String>,
}

impl LineArguments<'_> {
    /// The next one, which must be there and not be empty.
    fn one(&mut self) -> Result<String, ConfigProblem> {
        // An empty word counts as none: readconf.c reports "missing argument" for both.
        self.words.next().filter(|word| !word.is_empty()).ok_or_else(|| self.missing())
    }

    fn missing(&self) -> ConfigProblem {
        ConfigProblem::Missing { keyword: self.keyword.to_owned() }
    }

    fn bad(&self, value: &str, expected: impl Into<Cow<'static, str>>) -> ConfigProblem {
        ConfigProblem::Value { keyword: self.keyword.to_owned(), value: value.to_owned(), expected: expected.into() }
    }

    /// All of them, each of which must pass.
    fn each(&mut self, test: impl Fn(&str) -> bool, expected: &'static str) -> Result<Vec<Arc<str>>, ConfigProblem> {
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
    fn words(&mut self) -> Result<Vec<Arc<str>>, ConfigProblem> {
        let all = self.words.as_slice();
        let empty = all.iter().any(String::is_empty);
        // `none` among files is ambiguous, so parse_char_array in readconf.c refuses it too.
        if empty || all.len() > 1 && all.iter().any(|word| word.eq_ignore_ascii_case("none")) {
            return Err(self.bad(&all.join(" "), "one or more words, or none alone"));
        }
        self.each(|_| true, "")
    }

    fn end(&mut self) -> Result<(), ConfigProblem> {
        match self.words.next() {
            Some(extra) => Err(ConfigProblem::Extra { keyword: self.keyword.to_owned(), extra }),
            None => Ok(()),
        }
    }
}

/// Reads the value of a keyword, which was written as `written`; `None` if it sets nothing, as no words at all do.
///
/// `rest` is what follows the keyword, `words` the same without quotes and comments.
pub(crate) fn read(
    keyword: &KeywordEntry,
    written: &str,
    rest: &str,
    words: Vec<String>,
    operator: &OperatorEnv,
) -> Result<Option<ConfigValue>, ConfigProblem> {
    let mut arguments = LineArguments { keyword: written, words: words.into_iter() };
    let value = one_value(keyword.syntax, rest, &mut arguments, operator)?;
    // Every syntax takes its own words, and process_config_line refuses leftovers ("keyword … extra arguments").
    arguments.end()?;
    Ok(value)
}

fn one_value(
    syntax: ValueSyntax,
    rest: &str,
    arguments: &mut LineArguments<'_>,
    operator: &OperatorEnv,
) -> Result<Option<ConfigValue>, ConfigProblem> {
    Ok(Some(match syntax {
        ValueSyntax::Anything => ConfigValue::Words(arguments.each(|_| true, "")?),
        ValueSyntax::Word => ConfigValue::Text(arguments.one()?.into()),
        ValueSyntax::Choice(choices) => choice(choices, arguments)?,
        ValueSyntax::Tested(test, expected) => {
            let word = arguments.one()?;
            if !test(&word) {
                return Err(arguments.bad(&word, expected));
            }
            ConfigValue::Text(word.into())
        }
        ValueSyntax::Time => match time_or_none(arguments)? {
            Some(seconds) => ConfigValue::Number(seconds),
            // As if it were not set, so that a later line may set it.
            None => return Ok(None),
        },
        ValueSyntax::Integer => integer(arguments)?,
        ValueSyntax::Port => port(arguments, operator)?,
        ValueSyntax::Words => match arguments.words()? {
            // No words at all leave the keyword unset, so that a later line may set it.
            words if words.is_empty() => return Ok(None),
            words => ConfigValue::Words(words),
        },
        ValueSyntax::Domains => domains(arguments)?,
        ValueSyntax::EachTested(test, expected) => ConfigValue::Words(arguments.each(test, expected)?),
        ValueSyntax::Command => ConfigValue::Text(command(rest, arguments).into()),
        ValueSyntax::Jump => jump_hosts(rest, arguments, operator)?,
        ValueSyntax::Agent => {
            let word = arguments.one()?;
            agent(&word, arguments, operator)?;
            ConfigValue::Text(word.into())
        }
        ValueSyntax::ForwardAgent => forward_agent(arguments, operator)?,
        ValueSyntax::AddKeysToAgent => add_keys_to_agent(arguments)?,
        ValueSyntax::Algorithms(kind) => algorithms(kind, arguments)?,
        ValueSyntax::Forward(kind) => forward(kind, arguments, operator)?,
        ValueSyntax::PermitRemoteOpen => permit_remote_open(arguments, operator)?,
        ValueSyntax::PermittedCnames => permitted_cnames(arguments)?,
        ValueSyntax::RekeyLimit => rekey_limit(arguments)?,
        ValueSyntax::Qos => qos(arguments)?,
    }))
}

/// A value taken as it stands, to the end of the line: quotes and comments are part of it.
fn command<'r>(rest: &'r str, arguments: &mut LineArguments<'_>) -> &'r str {
    // The words were split for their quotes only, so `end` must find none.
    arguments.words = Vec::new().into_iter();
    // An equals sign may separate the keyword from the command, as `strspn(str, WHITESPACE "=")` in readconf.c allows.
    rest.trim_start_matches([' ', '\t', '\r', '\n', '='])
}

fn jump_hosts(
    rest: &str,
    arguments: &mut LineArguments<'_>,
    operator: &OperatorEnv,
) -> Result<ConfigValue, ConfigProblem> {
    // As for a command: parse_jump (readconf.c) gets the rest of the line with its comment.
    let text = command(rest, arguments);
    let expected = "hops joined by commas, each [user@]host[:port] or ssh://[user@]host[:port]";
    let jump = jump::parse(text, &|name| operator.service(name)).map_err(|_| arguments.bad(text, expected))?;
    Ok(ConfigValue::Jump(jump.map(Arc::new)))
}

fn integer(arguments: &mut LineArguments<'_>) -> Result<ConfigValue, ConfigProblem> {
    let word = arguments.one()?;
    let number = time::integer(&word).and_then(|number| u64::try_from(number).ok());
    number.map(ConfigValue::Number).ok_or_else(|| arguments.bad(&word, "a whole number"))
}

fn port(arguments: &mut LineArguments<'_>, operator: &OperatorEnv) -> Result<ConfigValue, ConfigProblem> {
    let word = arguments.one()?;
    let port = jump::port(&word, &|name| operator.service(name));
    let port = port.ok_or_else(|| arguments.bad(&word, "a port from 1 to 65535"))?;
    Ok(ConfigValue::Number(u64::from(port)))
}

fn domains(arguments: &mut LineArguments<'_>) -> Result<ConfigValue, ConfigProblem> {
    let words = arguments.words()?;
    match words.iter().find(|word| !jump::is_domain(word)) {
        Some(bad) => Err(arguments.bad(bad, "a domain name")),
        None => Ok(ConfigValue::Words(words)),
    }
}

fn algorithms(kind: AlgorithmKind, arguments: &mut LineArguments<'_>) -> Result<ConfigValue, ConfigProblem> {
    let word = arguments.one()?;
    if !kind.reads(&word) {
        return Err(arguments.bad(&word, "names that ssh -Q lists, joined by commas"));
    }
    // A value with wildcards is assembled here once instead of for each host.
    Ok(ConfigValue::Algorithms { names: kind.assemble(&word), text: word.into() })
}

fn choice(choices: ValueChoices, arguments: &mut LineArguments<'_>) -> Result<ConfigValue, ConfigProblem> {
    let word = arguments.one()?;
    chosen(choices, &word).map(ConfigValue::Choice).ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        arguments.bad(&word, words.join(", "))
    })
}

fn chosen(choices: ValueChoices, word: &str) -> Option<&'static str> {
    choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, written)| *written)
}

fn time_or_none(arguments: &mut LineArguments<'_>) -> Result<Option<u64>, ConfigProblem> {
    let word = arguments.one()?;
    // Lower case only, as in parse_time of readconf.c: `strcmp`, whereas most other words ignore case.
    if word == "none" {
        return Ok(None);
    }
    time::seconds(&word).map(Some).ok_or_else(|| arguments.bad(&word, "a time such as 30 or 1m30s"))
}

/// Variables must be set already when the file is read; what they hold counts when the agent is used.
fn agent(word: &str, arguments: &LineArguments<'_>, operator: &OperatorEnv) -> Result<(), ConfigProblem> {
    // The result is not kept: this only finds variables that are not set.
    tokens::variables(word, operator)?;
    match word.strip_prefix('$') {
        // The old form `$NAME` differs from `${NAME}`: it is the name of a variable that holds the socket (ssh.c,
        // main).
        Some(name) if !name.starts_with('{') && !check::variable_name(name) => {
            Err(arguments.bad(word, "a path, none, SSH_AUTH_SOCK or $NAME"))
        }
        _ => Ok(()),
    }
}

fn forward_agent(arguments: &mut LineArguments<'_>, operator: &OperatorEnv) -> Result<ConfigValue, ConfigProblem> {
    let word = arguments.one()?;
    Ok(match chosen(FLAG, &word) {
        Some(choice) => ConfigValue::Choice(choice),
        None => {
            agent(&word, arguments, operator)?;
            ConfigValue::Text(word.into())
        }
    })
}

fn add_keys_to_agent(arguments: &mut LineArguments<'_>) -> Result<ConfigValue, ConfigProblem> {
    let word = arguments.one()?;
    let limit = arguments.words.next();
    let known = ["true", "false", "yes", "no", "ask", "confirm"].iter().any(|it| it.eq_ignore_ascii_case(&word));
    let good = match &limit {
        Some(limit) => word.eq_ignore_ascii_case("confirm") && time::seconds(limit).is_some(),
        None => known || time::seconds(&word).is_some(),
    };
    if !good {
        return Err(arguments.bad(&word, "yes, no, ask, confirm or a time"));
    }
    Ok(ConfigValue::Text(word.into()))
}

fn permit_remote_open(arguments: &mut LineArguments<'_>, operator: &OperatorEnv) -> Result<ConfigValue, ConfigProblem> {
    let all = arguments.words.as_slice();
    let first = all.first().ok_or_else(|| arguments.missing())?.clone();
    if matches!(first.as_str(), "any" | "none") {
        arguments.words.next();
    } else {
        arguments.each(|open| check::permitted_open(open, operator), "host:port")?;
    }
    Ok(ConfigValue::Text(first.into()))
}

fn permitted_cnames(arguments: &mut LineArguments<'_>) -> Result<ConfigValue, ConfigProblem> {
    let all = arguments.words.as_slice();
    if let [only] = all
        && only.eq_ignore_ascii_case("none")
    {
        return Ok(ConfigValue::Words(arguments.each(|_| true, "")?));
    }
    Ok(ConfigValue::Words(arguments.each(check::permitted_cname, "*, or sources and targets such as *.a:*.b")?))
}

fn rekey_limit(arguments: &mut LineArguments<'_>) -> Result<ConfigValue, ConfigProblem> {
    let bytes = arguments.one()?;
    if !check::rekey_bytes(&bytes) {
        return Err(arguments.bad(&bytes, "default, or bytes such as 1G, at least 16"));
    }
    let mut words = vec![bytes.into()];
    if let [next, ..] = arguments.words.as_slice() {
        words.push(next.as_str().into());
        time_or_none(arguments)?;
    }
    Ok(ConfigValue::Words(words))
}

fn qos(arguments: &mut LineArguments<'_>) -> Result<ConfigValue, ConfigProblem> {
    let first = arguments.words.next().unwrap_or_default();
    let words: Vec<String> = std::iter::once(first).chain(arguments.words.next()).collect();
    if let Some(bad) = words.iter().find(|word| !check::qos(word)) {
        return Err(arguments.bad(bad, "a class such as lowdelay or ef, or a number"));
    }
    Ok(ConfigValue::Text(words.join(" ").into()))
}

fn forward(
    kind: ForwardingKind,
    arguments: &mut LineArguments<'_>,
    operator: &OperatorEnv,
) -> Result<ConfigValue, ConfigProblem> {
    let listen = arguments.one()?;
    let target = match kind {
        ForwardingKind::Dynamic => None,
        ForwardingKind::Local => Some(arguments.one()?),
        // RemoteForward without a target makes the server listen for SOCKS, so a missing one is no error.
        ForwardingKind::Remote => arguments.words.next().filter(|target| !target.is_empty()),
    };
    // parse_forward (readconf.c) wants one text, so the two words are joined again.
    let text = match &target {
        Some(target) => format!("{listen}:{target}"),
        None => listen,
    };
    if !check::forwarding(&text, kind, target.is_some(), operator) {
        return Err(arguments.bad(&text, "a forwarding as in ssh_config(5)"));
    }
    Ok(ConfigValue::Text(text.into()))
}
