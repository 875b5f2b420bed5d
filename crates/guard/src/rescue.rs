//! The restarts of the guard: their commands, and the trial of each command before anything is stopped.
//!
//! Pure. Invariants: the trial runs the same command as the rescue, with `status` in place of `start`; no command
//! contains a password: passwords are in [`ControlSettings`], which are sent over the guard's channel.

use std::fmt;
use std::sync::Arc;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use ctl_event::Failure;

/// How long the guard tries to start a target, in seconds: `stopwaitsecs` and `startsecs` of the program, which
/// supervisord does not report, and 30 s more. Contrail's programs have at most 10 s and 10 s.
const RESCUE_LIMIT: u32 = 120;

/// Time limit of a trial on the node, in seconds.
pub(super) const TRIAL_LIMIT: u32 = 8;

/// Maximum number of names in one trial.
const NAMES_AT_ONCE: usize = 40;

/// Encodes a newline inside a line of the guard's protocol.
const LINE_END: &str = "\u{1f}";

/// Standard input for `supervisorctl`, in the form of its configuration file: it contains a password.
#[derive(Clone)]
pub struct ControlSettings(Arc<SecretString>);

impl ControlSettings {
    /// Wraps this text, with its newlines.
    #[must_use]
    pub fn new(text: SecretString) -> Self {
        Self(Arc::new(text))
    }

    /// The settings as a line of the guard's protocol, with their number.
    pub(super) fn line(&self, number: u64) -> Zeroizing<String> {
        let text = Zeroizing::new(self.0.expose_secret().replace('\r', "").replace('\n', LINE_END));
        Zeroizing::new(format!("={number} {}\n", text.as_str()))
    }
}

impl fmt::Debug for ControlSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Settings(..)")
    }
}

impl PartialEq for ControlSettings {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl Eq for ControlSettings {}

/// The guard's `supervisorctl` command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlCommand {
    /// `[sudo -n] supervisorctl -s ADDRESS`.
    pub words: Vec<String>,
    /// Its standard input.
    pub settings: Option<ControlSettings>,
}

/// A restart that the guard performs if the connection is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rescue {
    /// A process, through `supervisorctl`.
    Process {
        /// `group:name`.
        name: String,
        /// The `supervisorctl` command for its supervisord.
        control: ControlCommand,
    },
    /// A group that an update has removed.
    Group {
        /// Its name.
        name: String,
        /// The `supervisorctl` command for its supervisord.
        control: ControlCommand,
    },
    /// An init service.
    Init {
        /// Its name.
        name: String,
        /// `sudo -n`, or nothing.
        prefix: Vec<String>,
    },
}

/// The answer of a rescue's command in a trial.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrialAnswer {
    /// The command, as a user would type it.
    pub command: String,
    /// Its output, including stderr (untrusted, bounded).
    pub said: String,
    /// Its exit code: 137 if it exceeded the time limit and was killed.
    pub exit: Option<u32>,
}

/// Decides by the answer whether the rescue would work.
pub type TrialJudge = fn(&Rescue, &TrialAnswer) -> Result<(), Failure>;

/// Rescues that share one trial.
#[derive(Debug)]
pub(super) struct RescueTrial<'a> {
    pub(super) rescues: Vec<&'a Rescue>,
    pub(super) settings: Option<&'a ControlSettings>,
    words: Vec<String>,
    names: Vec<String>,
}

impl Rescue {
    /// The name of its target.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Process { name, .. } | Self::Group { name, .. } | Self::Init { name, .. } => name,
        }
    }

    /// The standard input of its command.
    pub(super) fn settings(&self) -> Option<&ControlSettings> {
        match self {
            Self::Process { control, .. } | Self::Group { control, .. } => control.settings.as_ref(),
            Self::Init { .. } => None,
        }
    }

    /// The guard's code. `settings`: the number of the command's settings in the guard. `None` if an argument contains
    /// a character that does not fit on a line.
    pub(super) fn code(&self, settings: Option<u64>) -> Option<String> {
        let (verb, words) = match self {
            Self::Process { control, .. } => ("up", &control.words),
            Self::Group { control, .. } => ("grp", &control.words),
            Self::Init { prefix, .. } => ("init", prefix),
        };
        let words = std::iter::once(self.name()).chain(words.iter().map(String::as_str));
        Some(format!("{verb} {RESCUE_LIMIT} {} {}", key(settings), one_line(words)?))
    }

    /// The arguments of the trial, up to the name; rescues with the same ones share a trial.
    fn trial_words(&self) -> Vec<String> {
        let more: &[&str] = match self {
            Self::Process { .. } | Self::Group { .. } => &["status"],
            Self::Init { name, .. } => &["service", name, "status"],
        };
        let words = match self {
            Self::Process { control, .. } | Self::Group { control, .. } => &control.words,
            Self::Init { prefix, .. } => prefix,
        };
        words.iter().cloned().chain(more.iter().map(|word| (*word).to_owned())).collect()
    }

    /// The argument of `status`.
    fn trial_name(&self) -> Option<String> {
        match self {
            Self::Process { name, .. } => Some(name.clone()),
            Self::Group { name, .. } => Some(format!("{name}:*")),
            Self::Init { .. } => None,
        }
    }
}

impl<'a> RescueTrial<'a> {
    /// One trial for all rescues with the same command.
    pub(super) fn of(rescues: impl IntoIterator<Item = &'a Rescue>) -> Vec<Self> {
        let mut trials: Vec<Self> = Vec::new();
        for rescue in rescues {
            let (words, settings) = (rescue.trial_words(), rescue.settings());
            let same = |trial: &&mut Self| {
                trial.rescues.len() < NAMES_AT_ONCE && trial.settings == settings && trial.words == words
            };
            match trials.iter_mut().find(same) {
                Some(trial) => {
                    trial.names.extend(rescue.trial_name());
                    trial.rescues.push(rescue);
                }
                None => {
                    let names = rescue.trial_name().into_iter().collect();
                    trials.push(Self { rescues: vec![rescue], words, names, settings });
                }
            }
        }
        trials
    }

    /// The guard's code.
    pub(super) fn code(&self, settings: Option<u64>) -> Option<String> {
        Some(format!("ask {TRIAL_LIMIT} {} {}", key(settings), self.command()?))
    }

    /// The command, as a user would type it.
    pub(super) fn command(&self) -> Option<String> {
        one_line(self.words.iter().chain(&self.names).map(String::as_str))
    }
}

/// The number of the settings in the guard's code.
fn key(settings: Option<u64>) -> String {
    settings.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// The arguments, quoted. `None` if one of them contains a character that does not fit on a line.
fn one_line<'a>(words: impl Iterator<Item = &'a str>) -> Option<String> {
    let quote = |word: &str| {
        let fits = !word.contains(['\n', '\r', '\u{1f}']);
        fits.then(|| shlex::try_quote(word).ok().map(std::borrow::Cow::into_owned)).flatten()
    };
    Some(words.map(quote).collect::<Option<Vec<_>>>()?.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(text: &str) -> ControlCommand {
        ControlCommand { words: text.split(' ').map(str::to_owned).collect(), settings: None }
    }

    fn process(name: &str, words: &str) -> Rescue {
        Rescue::Process { name: name.to_owned(), control: control(words) }
    }

    #[test]
    fn a_rescue_is_one_line() {
        let rescue = process("api:it's 0", "sudo -n supervisorctl -s unix:///tmp/x.sock");
        assert_eq!(
            rescue.code(None).as_deref(),
            Some("up 120 - \"api:it's 0\" sudo -n supervisorctl -s unix:///tmp/x.sock")
        );
        let group = Rescue::Group { name: "api".to_owned(), control: control("supervisorctl -c /dev/stdin") };
        assert_eq!(group.code(Some(3)).as_deref(), Some("grp 120 3 api supervisorctl -c /dev/stdin"));
        let init = Rescue::Init { name: "supervisor-vrouter".to_owned(), prefix: Vec::new() };
        assert_eq!(init.code(None).as_deref(), Some("init 120 - supervisor-vrouter"));
        let broken = Rescue::Init { name: "a\nb".to_owned(), prefix: Vec::new() };
        assert_eq!(broken.code(None), None);
    }

    #[test]
    fn the_words_of_the_rescue_are_tried_once_for_all_that_have_them() {
        let one = "sudo -n supervisorctl -s unix:///tmp/x.sock";
        let rescues = [
            process("api:0", one),
            Rescue::Init { name: "cassandra".to_owned(), prefix: vec!["sudo".to_owned(), "-n".to_owned()] },
            Rescue::Group { name: "api".to_owned(), control: control(one) },
            process("dns:dns", "supervisorctl -s http://localhost:9003"),
        ];
        let trials = RescueTrial::of(&rescues);
        let codes: Vec<_> = trials.iter().map(|trial| trial.code(None).unwrap_or_default()).collect();
        assert_eq!(
            codes,
            [
                "ask 8 - sudo -n supervisorctl -s unix:///tmp/x.sock status api:0 'api:*'",
                "ask 8 - sudo -n service cassandra status",
                "ask 8 - supervisorctl -s http://localhost:9003 status dns:dns",
            ]
        );
        assert_eq!(trials[0].rescues.len(), 2);
        let many: Vec<_> = (0..100).map(|number| process(&format!("p:{number}"), one)).collect();
        assert_eq!(RescueTrial::of(&many).iter().map(|trial| trial.rescues.len()).collect::<Vec<_>>(), [40, 40, 20]);
    }

    #[test]
    fn settings_are_one_line_and_are_not_shown() {
        let settings = ControlSettings::new("[supervisorctl]\npassword=s3cret\r\n".into());
        assert_eq!(settings.line(7).as_str(), "=7 [supervisorctl]\u{1f}password=s3cret\u{1f}\n");
        let control = ControlCommand { settings: Some(settings), ..control("supervisorctl -c /dev/stdin") };
        let rescue = Rescue::Process { name: "a:a".to_owned(), control };
        assert!(!format!("{rescue:?}{:?}", rescue.code(Some(7))).contains("s3cret"));
    }
}
