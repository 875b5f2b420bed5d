//! Why services are not up, shown once for all nodes whose evidence differs only in times, pids and addresses.
//!
//! Uses `event`, `nodeset` and this module. Invariants: every node with evidence is named, folded, or counted at the
//! end; each line is made safe and short enough for a screen. Start at [`evidence`].

use std::collections::HashMap;

use nodeset::NodeSet;

use super::text;
use ctl_event::{FailureEvidence, Ledger};

/// Maximum number of groups to show; the JSON has them all.
const SHOWN: usize = 12;

/// Nodes on which a service ended the same way.
struct EvidenceGroup<'a> {
    service: &'a str,
    first: &'a FailureEvidence,
    /// The log lines, without repetitions.
    lines: &'a [String],
    /// Nodes with exactly the same text.
    same: Vec<&'a str>,
    /// Nodes whose text differs only in numbers.
    alike: Vec<&'a str>,
}

/// The evidence for services that did not come up, as lines.
pub(super) fn evidence(ledger: &Ledger) -> String {
    let mut groups: Vec<EvidenceGroup<'_>> = Vec::new();
    let mut places = HashMap::new();
    for result in ledger.results() {
        let Some(own) = &result.evidence else { continue };
        let service = result.service.as_deref().unwrap_or("it");
        let (lines, plain) = last_attempt(&own.lines);
        // Without numbers, so that times, pids and addresses do not make two causes of one.
        let place = *places.entry((service, ended(own), own.stream, plain)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) if group.lines == lines => group.same.push(&result.node),
            Some(group) => group.alike.push(&result.node),
            None => {
                groups.push(EvidenceGroup { service, first: own, lines, same: vec![&result.node], alike: Vec::new() })
            }
        }
    }
    let mut told: String = groups.iter().take(SHOWN).map(EvidenceGroup::text).collect();
    if let Some(more) = groups.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        told.push_str(&format!("and {more} more with other causes: -o json shows all\n"));
    }
    told
}

impl EvidenceGroup<'_> {
    fn text(&self) -> String {
        let nodes = |nodes: &[&str]| text::visible(&NodeSet::from_names(nodes).to_string()).into_owned();
        let about = format!("{} on {}", text::visible(self.service), nodes(&self.same));
        let ended = ended(self.first).map(|words| format!(": {}", text::single_line(&words))).unwrap_or_default();
        if self.lines.is_empty() {
            let also = if self.alike.is_empty() { String::new() } else { format!(",{}", nodes(&self.alike)) };
            return format!("{about}{also}{ended}; its logs are empty\n");
        }
        let colon = if ended.is_empty() { ": " } else { "; " };
        let mut told = format!("{about}{ended}{colon}the end of its {} log:\n", self.first.stream);
        for line in self.lines {
            told.push_str(&format!("    {}\n", text::log_line(line, text::LINE_LIMIT)));
        }
        if !self.alike.is_empty() {
            told.push_str(&format!("  same on {}, except for numbers\n", nodes(&self.alike)));
        }
        told
    }
}

/// How the process ended, in short.
fn ended(own: &FailureEvidence) -> Option<String> {
    // Only services that should be up have evidence, so "not expected" adds nothing.
    let words = own.ended.as_deref().map(|words| words.trim_end_matches("; not expected").to_owned());
    words.or_else(|| own.exit_status.map(|status| format!("exit status {status}")))
}

/// The lines of the last attempt, and the same lines without numbers: a program that was started several times logs the
/// same lines each time, and the number of attempts does not make a difference.
fn last_attempt(lines: &[String]) -> (&[String], Vec<String>) {
    let plain: Vec<String> = lines.iter().map(|line| without_numbers(line)).collect();
    let repeats = |period: &usize| plain.iter().zip(plain.iter().skip(*period)).all(|(one, next)| one == next);
    // A service that fails in a loop repeats itself: find the shortest period, and keep its last turn.
    let start = (1..=lines.len() / 2).find(repeats).map_or(0, |period| lines.len() - period);
    (lines.get(start..).unwrap_or_default(), plain.into_iter().skip(start).collect())
}

/// Replaces every token that has a digit (times, pids, addresses, node names) with one placeholder.
fn without_numbers(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while !rest.is_empty() {
        let end = rest.find(|char: char| !char.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        // A word with a digit may be a time, a pid or a hexadecimal address.
        plain.push_str(if word.bytes().any(|byte| byte.is_ascii_digit()) { "0" } else { word });
        let mut chars = after.chars();
        plain.extend(chars.next());
        rest = chars.as_str();
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;
    use ctl_event::{LogStream, Outcome, TargetResult};

    fn result(node: &str, ended: Option<&str>, status: Option<i32>, lines: &[&str]) -> TargetResult {
        let evidence = FailureEvidence {
            exit_status: status,
            ended: ended.map(str::to_owned),
            stream: LogStream::Stderr,
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        };
        TargetResult { evidence: Some(evidence), ..fixtures::result(node, Outcome::Failed) }
    }

    fn told(results: Vec<TargetResult>) -> String {
        let mut ledger = Ledger::default();
        for event in fixtures::run(Some("restart"), results) {
            ledger.apply(&event).expect("it fits");
        }
        evidence(&ledger)
    }

    #[test]
    fn evidence_that_differs_only_in_numbers_is_shown_once() {
        let ended = Some("exit status 1; not expected");
        let line = |node: &str, pid: u32| format!("12:00:{pid} {node}[{pid}]: cannot bind 0x7f{pid:x}\x1b[0m\tat 9042");
        let results = vec![
            result("c001", ended, Some(1), &["Traceback:", &line("c001", 10)]),
            result("c002", ended, Some(1), &["Traceback:", &line("c001", 10)]),
            result("c003", ended, Some(1), &["Traceback:", &line("c003", 31)]),
            result("c004", ended, Some(1), &["Traceback:", &line("c004", 47)]),
            result("c005", Some("terminated by SIGSEGV; not expected"), None, &[]),
            result("c006", None, Some(3), &["another end"]),
            result("c007", None, None, &["nothing is known of its end"]),
            fixtures::result("c008", Outcome::Changed),
        ];
        insta::assert_snapshot!(told(results), @r"
        contrail-collector on c[001-002]: exit status 1; the end of its stderr log:
            Traceback:
            12:00:10 c001[10]: cannot bind 0x7fa\x1b[0m     at 9042
          same on c[003-004], except for numbers
        contrail-collector on c005: terminated by SIGSEGV; its logs are empty
        contrail-collector on c006: exit status 3; the end of its stderr log:
            another end
        contrail-collector on c007: the end of its stderr log:
            nothing is known of its end
        ");
        assert_eq!(told(vec![fixtures::result("c008", Outcome::Changed)]), "");
    }

    #[test]
    fn too_many_different_ends_are_counted() {
        let word = |place: u8| format!("end {}", char::from(b'a' + place));
        let results = (0..20).map(|place| result(&format!("c{place}"), None, Some(1), &[&word(place)])).collect();
        let told = told(results);
        assert_eq!(told.lines().count(), 2 * SHOWN + 1, "{told}");
        assert!(told.ends_with("and 8 more with other causes: -o json shows all\n"), "{told}");
    }

    #[test]
    fn how_often_it_was_tried_is_no_difference() {
        let results = vec![
            result("c1", None, Some(1), &["no disk", "start 1", "no disk", "start 2", "no disk"]),
            result("c2", None, Some(1), &["start 1", "no disk"]),
            result("c3", None, Some(1), &["once", "start 1", "no disk", "start 2", "no disk"]),
        ];
        insta::assert_snapshot!(told(results), @r"
        contrail-collector on c1: exit status 1; the end of its stderr log:
            start 2
            no disk
          same on c2, except for numbers
        contrail-collector on c3: exit status 1; the end of its stderr log:
            once
            start 1
            no disk
            start 2
            no disk
        ");
    }

    #[test]
    fn numbers_are_all_alike() {
        assert_eq!(without_numbers("at 12:30:05 on c001 (0xdeadbeef1): é9 x"), "at 0:0:0 on 0 (0): é0 x");
        assert_eq!(without_numbers("no number"), "no number");
    }
}
