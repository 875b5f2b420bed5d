//! The tips of the argument parser, without those that lead nowhere.
//!
//! The parser compares words more freely than people do (`reboot` is like `rollout` to it), and proposes to pass an unknown option
//! as a value, which would be the name of a service. Start at [`without_far_ones`].

use clap::error::{ContextKind, ContextValue};

/// Whether a word could be meant by another: a third of its length may be wrong, so that `date` is not taken for `update`.
pub(crate) fn is_near(typed: &str, known: &str) -> bool {
    distance(typed, known) <= typed.trim_start_matches('-').len() / 3
}

pub(crate) fn distance(typed: &str, known: &str) -> usize {
    strsim::damerau_levenshtein(known, typed)
}

/// Leaves only the tips that are near enough, and of these the nearest.
pub fn without_far_ones(error: &mut clap::Error) {
    let text = |error: &clap::Error, kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    if let Some(typed) = text(error, ContextKind::InvalidSubcommand) {
        nearest(error, ContextKind::SuggestedSubcommand, &typed);
    }
    if let Some(typed) = text(error, ContextKind::InvalidArg) {
        let typed = typed.split([' ', '=']).next().unwrap_or_default();
        let had_tip = error.get(ContextKind::SuggestedArg).is_some();
        nearest(error, ContextKind::SuggestedArg, typed);
        error.remove(ContextKind::Suggested);
        if had_tip && error.get(ContextKind::SuggestedArg).is_none() {
            // It shows how to use the option that the tip named.
            error.remove(ContextKind::Usage);
        }
    }
}

fn nearest(error: &mut clap::Error, kind: ContextKind, typed: &str) {
    let known = match error.remove(kind) {
        Some(ContextValue::String(known)) => vec![known],
        Some(ContextValue::Strings(known)) => known,
        _ => return,
    };
    let mut near: Vec<String> = known.into_iter().filter(|known| is_near(typed, known)).collect();
    let least = near.iter().map(|known| distance(typed, known)).min();
    near.retain(|known| Some(distance(typed, known)) == least);
    // A list of one is said in the plural.
    let kept = if near.len() == 1 { near.pop().map(ContextValue::String) } else { Some(ContextValue::Strings(near)) };
    if let Some(kept) = kept.filter(|kept| !matches!(kept, ContextValue::Strings(known) if known.is_empty())) {
        error.insert(kind, kept);
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::CliArgs;

    #[test]
    fn only_near_tips_are_shown() {
        for (typed, tip) in [
            ("stauts", Some("a similar subcommand exists: 'status'")),
            ("restrat x", Some("a similar subcommand exists: 'restart'")),
            ("inventroy", Some("a similar subcommand exists: 'inventory'")),
            ("status --node a", Some("a similar argument exists: '--nodes'")),
            ("reboot", None),
            ("scp a b", None),
            ("cat x", None),
            ("status --interval 5", None),
            ("restart x --now", None),
            ("restart x --tags y", None),
            ("logs x -p", None),
        ] {
            let words = std::iter::once("ctl").chain(typed.split_whitespace());
            let mut error = CliArgs::command().try_get_matches_from(words).expect_err(typed);
            without_far_ones(&mut error);
            let shown = error.render().to_string();
            let found = shown.lines().find_map(|line| line.trim().strip_prefix("tip: "));
            assert_eq!(found, tip, "{typed}: {shown}");
            assert!(tip.is_some() || !shown.contains("--inventory"), "{shown}");
        }
    }
}
