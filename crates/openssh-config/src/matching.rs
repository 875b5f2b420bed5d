//! `Host` and `Match`: which lines apply to a host.
//!
//! The lines are read here, and judged against [`MatchFacts`], which the resolver has at hand. Invariants: a name
//! that an inventory gives an address is matched under both.

use std::borrow::Cow;
use std::sync::Arc;

use super::error::ConfigProblem;
use super::line::LineFields;
use super::network::NetworkList;
use super::operator::OperatorEnv;
use super::pattern::{ConfigPattern, PatternList};
use super::tokens;

/// The patterns of a `Host` line.
#[derive(Debug)]
pub(crate) struct HostLine(Vec<HostPattern>);

#[derive(Debug)]
enum HostPattern {
    Positive(ConfigPattern),
    Negative(ConfigPattern),
    /// An error, but only for those who get so far.
    Empty,
}

impl HostLine {
    pub(crate) fn new(words: &[String]) -> Self {
        Self(
            words
                .iter()
                .map(|word| match word.strip_prefix('!') {
                    Some(negated) => HostPattern::Negative(ConfigPattern::new(negated)),
                    None if word.is_empty() => HostPattern::Empty,
                    None => HostPattern::Positive(ConfigPattern::new(word)),
                })
                .collect(),
        )
    }

    /// The patterns that are names: neither negated nor with wildcards.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|pattern| match pattern {
            HostPattern::Positive(pattern) => pattern.name(),
            HostPattern::Negative(_) | HostPattern::Empty => None,
        })
    }

    /// Whether one pattern matches one of the names, and no negated one does. `never` is a block that cannot apply.
    pub(crate) fn matches(&self, names: &[&str], never: bool) -> Result<bool, ConfigProblem> {
        let mut positive = false;
        for pattern in &self.0 {
            match pattern {
                // This comes before `never`: an empty word is an error in a block that cannot apply too (readconf.c,
                // oHost).
                HostPattern::Empty => return Err(ConfigProblem::Missing { keyword: "host".to_owned() }),
                _ if never => return Ok(false),
                // A negated match ends the line; what other patterns say no longer counts.
                HostPattern::Negative(pattern) if names.iter().any(|name| pattern.matches(name)) => return Ok(false),
                HostPattern::Negative(_) => {}
                HostPattern::Positive(pattern) => positive |= names.iter().any(|name| pattern.matches(name)),
            }
        }
        Ok(positive)
    }
}

/// The criteria of a `Match` line.
#[derive(Debug)]
pub(crate) struct MatchLine {
    criteria: Vec<(CriterionSign, MatchCriterion)>,
    /// Whether it asks for a second pass.
    pub(crate) wants_final: bool,
}

/// Whether a criterion is to hold, or not to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CriterionSign {
    Plain,
    Negated,
}

#[derive(Debug)]
enum MatchCriterion {
    All,
    /// `final` and `canonical`.
    SecondPass,
    Host(PatternList),
    OriginalHost(PatternList),
    User(PatternList),
    LocalUser(PatternList),
    Exec(Arc<str>),
    /// An address of this machine lies in one of the networks.
    LocalNetwork(NetworkList),
    /// `Tag`. None is the empty pattern: there is no tag.
    Tagged(Option<PatternList>),
    /// What `ssh` calls itself.
    Version(PatternList),
    /// What the session is for: always `exec`.
    SessionType(PatternList),
    /// The command, which is not known when a connection is made: only the empty pattern holds.
    Command {
        is_empty: bool,
    },
}

/// A connection of ours carries commands; there is no shell.
const SESSION_TYPE: &str = "exec";

/// What `Match` may ask for.
pub(crate) struct MatchFacts<'a> {
    /// The name to connect to, as far as it is known, in lower case; with the other names of the host.
    pub(crate) hosts: &'a [&'a str],
    /// The name as typed, in lower case; with the other names of the host.
    pub(crate) original_hosts: &'a [&'a str],
    /// Who logs in, as far as it is known.
    pub(crate) user: &'a str,
    /// The user of this process and the machine it runs on.
    pub(crate) operator: &'a OperatorEnv,
    /// The value of `Tag`, as far as it is known.
    pub(crate) tag: &'a str,
    pub(crate) second_pass: bool,
    /// Runs a command whose tokens are not resolved yet.
    pub(crate) exec: &'a dyn Fn(&str) -> Result<bool, ConfigProblem>,
}

impl MatchLine {
    /// Reads what follows `Match`.
    pub(crate) fn new(text: &str) -> Result<Self, ConfigProblem> {
        let mut fields = LineFields::new(text);
        let mut criteria: Vec<(CriterionSign, MatchCriterion)> = Vec::new();
        let mut wants_final = false;
        while let Some(field) = fields.next() {
            if field.is_empty() {
                break;
            }
            // Only a whole word can begin a comment here: strdelim knows no comments, match_cfg_line does.
            if field.starts_with('#') {
                fields.finish();
                break;
            }
            let (sign, name) = match field.strip_prefix('!') {
                Some(name) => (CriterionSign::Negated, name),
                None => (CriterionSign::Plain, &*field),
            };
            let name = name.to_ascii_lowercase();
            match name.as_str() {
                "all" => {
                    expect_end_after_all(&mut fields, criteria.len())?;
                    criteria.push((sign, MatchCriterion::All));
                    break;
                }
                "final" | "canonical" => {
                    // `canonical` alone does not cause a second pass, it only waits for one.
                    wants_final |= name == "final";
                    criteria.push((sign, MatchCriterion::SecondPass));
                }
                _ => {
                    let value = criterion_value(&name, &mut fields)?;
                    criteria.push((sign, MatchCriterion::new(&name, &value)?));
                }
            }
        }
        if criteria.is_empty() {
            return Err(invalid("at least one criterion is needed"));
        }
        // Text is left only after `all`, or behind an empty word that ended the loop.
        match fields.rest() {
            Some(rest) if !rest.is_empty() => {
                Err(ConfigProblem::Extra { keyword: "match".to_owned(), extra: rest.to_owned() })
            }
            _ => Ok(Self { criteria, wants_final }),
        }
    }

    /// Whether all criteria hold. A command is run only if those before it do.
    pub(crate) fn matches(&self, facts: &MatchFacts<'_>) -> Result<bool, ConfigProblem> {
        for (sign, criterion) in &self.criteria {
            let holds = match criterion {
                MatchCriterion::All => true,
                MatchCriterion::SecondPass => facts.second_pass,
                MatchCriterion::Host(list) => list.matches(facts.hosts.iter().copied()),
                MatchCriterion::OriginalHost(list) => list.matches(facts.original_hosts.iter().copied()),
                MatchCriterion::User(list) => list.matches(std::iter::once(facts.user)),
                MatchCriterion::LocalUser(list) => list.matches(std::iter::once(facts.operator.user.as_str())),
                MatchCriterion::Exec(command) => (facts.exec)(command)?,
                MatchCriterion::LocalNetwork(networks) => match facts.operator.addresses() {
                    Some(addresses) => networks.contain_any(addresses),
                    // A quiet "no" could choose the wrong settings, and `ssh` fails here too.
                    None => return Err(ConfigProblem::Match("cannot list the addresses of this machine".to_owned())),
                },
                MatchCriterion::Tagged(list) => match list {
                    // An empty tag is no tag: even `*` does not match it.
                    Some(list) => !facts.tag.is_empty() && list.matches(std::iter::once(facts.tag)),
                    None => facts.tag.is_empty(),
                },
                MatchCriterion::Version(list) => list.matches(std::iter::once(facts.operator.ssh_version())),
                MatchCriterion::SessionType(list) => list.matches(std::iter::once(SESSION_TYPE)),
                MatchCriterion::Command { is_empty } => *is_empty,
            };
            // The first that fails decides: this also keeps a later `exec` from running, as in match_cfg_line ("skipped
            // exec").
            if holds == (*sign == CriterionSign::Negated) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl MatchCriterion {
    /// The criterion `name`, in lower case, with its value.
    fn new(name: &str, value: &str) -> Result<Self, ConfigProblem> {
        Ok(match name {
            "host" => Self::Host(PatternList::lowercase(value)),
            "originalhost" => Self::OriginalHost(PatternList::lowercase(value)),
            "user" => Self::User(PatternList::new(value)),
            "localuser" => Self::LocalUser(PatternList::new(value)),
            "exec" => {
                // Tokens are checked now, so that a bad one is found whether or not the block is ever judged.
                tokens::check(value, tokens::CLIENT)?;
                Self::Exec(value.into())
            }
            "localnetwork" => {
                let bad = |part| invalid(format!("localnetwork expects networks such as 10.0.0.0/8, not {part:?}"));
                Self::LocalNetwork(NetworkList::parse(value).map_err(bad)?)
            }
            "tagged" => Self::Tagged((!value.is_empty()).then(|| PatternList::new(value))),
            "version" => Self::Version(PatternList::new(value)),
            "sessiontype" => Self::SessionType(PatternList::new(value)),
            "command" => Self::Command { is_empty: value.is_empty() },
            _ => return Err(invalid(format!("unknown criterion {name}"))),
        })
    }
}

/// The value of the criterion `name`, which must be there.
fn criterion_value<'a>(name: &str, fields: &mut LineFields<'a>) -> Result<Cow<'a, str>, ConfigProblem> {
    // Since OpenSSH 10.0, these two may ask for nothing.
    let may_be_empty = matches!(name, "tagged" | "command");
    // A comment cannot be a value: match_cfg_line takes it for a missing one.
    let value = fields.next().filter(|value| (may_be_empty || !value.is_empty()) && !value.starts_with('#'));
    value.ok_or_else(|| invalid(format!("{name} needs a value")))
}

/// Checks that nothing but a comment follows `all`, and takes the comment.
fn expect_end_after_all(fields: &mut LineFields<'_>, criteria_before: usize) -> Result<(), ConfigProblem> {
    let next = fields.next();
    let comment = next.as_ref().is_some_and(|next| next.starts_with('#'));
    // One criterion may precede, so that `Match canonical all` passes: match_cfg_line (readconf.c) counts them the same
    // way.
    if criteria_before > 1 || !comment && next.is_some_and(|next| !next.is_empty()) {
        return Err(invalid("all cannot be combined with other criteria"));
    }
    if comment {
        fields.finish();
    }
    Ok(())
}

fn invalid(reason: impl Into<String>) -> ConfigProblem {
    ConfigProblem::Match(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(line: &[&str], names: &[&str]) -> Result<bool, ConfigProblem> {
        HostLine::new(&line.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).matches(names, false)
    }

    #[test]
    fn host_lines() {
        let cases: &[(&[&str], &[&str], bool)] = &[
            (&["a"], &["a"], true),
            (&["A"], &["a"], false),
            (&["*", "!a"], &["a"], false),
            (&["!a", "*"], &["a"], false),
            (&["!b"], &["a"], false),
            (&["10.*"], &["a", "10.0.0.1"], true),
            (&["*", "!10.*"], &["a", "10.0.0.1"], false),
            (&[], &["a"], false),
        ];
        for (line, names, expected) in cases {
            assert_eq!(hosts(line, names).expect("no empty pattern"), *expected, "{line:?} {names:?}");
        }
        assert!(hosts(&["b", ""], &["a"]).is_err());
        assert!(!hosts(&["!a", ""], &["a"]).expect("ssh does not get to the empty pattern"));
    }

    fn judged(text: &str) -> Result<bool, ConfigProblem> {
        judged_with(text, "blue")
    }

    fn judged_with(text: &str, tag: &str) -> Result<bool, ConfigProblem> {
        let operator = OperatorEnv {
            user: "op".to_owned(),
            addresses: Some(vec!["10.1.2.3".parse().expect("address")]).into(),
            ssh_version: "OpenSSH_9.2p1 Debian-2".to_owned().into(),
            ..OperatorEnv::default()
        };
        MatchLine::new(text)?.matches(&MatchFacts {
            hosts: &["h.example.org"],
            original_hosts: &["h"],
            user: "u",
            operator: &operator,
            tag,
            second_pass: false,
            exec: &|command| Ok(command == "true"),
        })
    }

    #[test]
    fn match_lines() {
        let cases = [
            ("all", Some(true)),
            ("!all", Some(false)),
            ("user u all", Some(true)),
            ("user x all", Some(false)),
            ("user u host * all", None),
            ("all user u", None),
            ("all # c", Some(true)),
            ("ALL", Some(true)),
            ("host *.example.org", Some(true)),
            ("host h", Some(false)),
            ("originalhost H", Some(true)),
            ("originalhost=h user=u", Some(true)),
            ("host a,*.org user !x", Some(false)),
            ("user *,!x", Some(true)),
            ("localuser op", Some(true)),
            ("final", Some(false)),
            ("!final", Some(true)),
            ("canonical host *", Some(false)),
            ("exec true", Some(true)),
            ("!exec true", Some(false)),
            ("exec \"false\" # c", Some(false)),
            ("exec \"%z\"", None),
            ("host", None),
            ("host # h", None),
            ("", None),
            ("# c", None),
            ("made-up x", None),
            ("tagged blue", Some(true)),
            ("tagged BLUE", Some(false)),
            ("tagged b*,red", Some(true)),
            ("tagged *,!blue", Some(false)),
            ("!tagged blue", Some(false)),
            ("tagged \"\"", Some(false)),
            ("!tagged \"\" user u", Some(true)),
            ("tagged", None),
            ("tagged # c", None),
            ("localnetwork 10.0.0.0/8", Some(true)),
            ("localnetwork 192.168.0.0/16,10.1.2.3", Some(true)),
            ("localnetwork=192.168.0.0/16", Some(false)),
            ("!localnetwork 192.168.0.0/16 user u", Some(true)),
            ("localnetwork 10.0.0.1/8", None),
            ("localnetwork !10.0.0.0/8", None),
            ("localnetwork eth0", None),
            ("localnetwork \"\"", None),
            ("version OpenSSH_9.*", Some(true)),
            ("version OpenSSH_10.*", Some(false)),
            ("!version OpenSSH_8.*,OpenSSH_7.*", Some(true)),
            ("version", None),
            ("sessiontype exec", Some(true)),
            ("sessiontype shell", Some(false)),
            ("!sessiontype shell,subsystem", Some(true)),
            ("command \"\"", Some(true)),
            ("command *", Some(false)),
            ("!command rsync*", Some(true)),
            ("host h \"\" user u", None),
        ];
        for (text, expected) in cases {
            assert_eq!(judged(text).ok(), expected, "{text}");
        }
        for (text, expected) in [("tagged *", false), ("tagged \"\"", true), ("!tagged *", true)] {
            assert_eq!(judged_with(text, "").ok(), Some(expected), "{text} without a tag");
        }
        assert!(MatchLine::new("!final").expect("good").wants_final);
        assert!(!MatchLine::new("canonical").expect("good").wants_final);
    }
}
