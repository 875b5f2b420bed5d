use proptest::prelude::*;
use serde_json::Value;

use super::super::fixtures::{self, SharedWriter};
use super::*;
use ctl_event::{Failure, FailureKind, Outcome, ProcessState, Stage, TargetResult};

fn report(results: Vec<TargetResult>) -> String {
    let out = SharedWriter::default();
    fixtures::play(&mut HtmlSink::new(out.writer()), &fixtures::run(Some("status"), results), 4);
    out.text()
}

fn failed(node: &str, message: &str) -> TargetResult {
    TargetResult {
        state: Some(ProcessState::Fatal),
        message: message.to_owned(),
        ..fixtures::result(node, Outcome::Ok)
    }
}

/// The content of the data block.
fn block(page: &str) -> &str {
    let (_, begun) = page.split_once("<script type=\"application/json\" id=\"data\">").expect("a block");
    begun.split_once("</script>").expect("its end").0
}

#[test]
fn the_page_matches_the_overview() {
    let page = report(vec![
        fixtures::running("a6s01", Outcome::Ok, 900, 60),
        failed("a6s02", "Exited too quickly"),
        failed("a6s03", "Exited too quickly"),
    ]);
    for words in [
        "<strong>2</strong> of 3 nodes are not healthy",
        "1 of 3",
        "a6s[02-03]",
        "(2 nodes)",
        "FATAL (Exited too quickly)",
        "2026-03-01 08:00:00 UTC",
        "4: a node was unreachable",
        "<title>2 of 3 nodes not healthy – ctl status</title>",
    ] {
        assert!(page.contains(words), "{words}");
    }
    let data: Value = serde_json::from_str(block(&page)).expect("JSON");
    assert_eq!(data["overview"]["troubles"][0]["nodes"], "a6s[02-03]");
    assert_eq!(data["results"].as_array().map(Vec::len), Some(3));
    let same = |place: usize| data["results"][1][place] == data["results"][2][place];
    assert!(same(2) && same(12), "a text is there once");
}

#[test]
fn outliers_are_named() {
    let results = (1..=9).map(|number| TargetResult {
        version: Some(if number == 4 { "3.1" } else { "3.2" }.to_owned()),
        ..fixtures::running(&format!("a6s{number:02}"), Outcome::Ok, 900, 60)
    });
    let page = report(results.collect());
    let (_, besides) = page.split_once("<ul class=\"besides\">").expect("a list");
    let (besides, _) = besides.split_once("</ul>").expect("its end");
    for words in ["≠", "different", "a6s04", "version 3.1, elsewhere 3.2"] {
        assert!(besides.contains(words), "{words}: {besides}");
    }
    assert!(!report(vec![fixtures::running("a6s01", Outcome::Ok, 900, 60)]).contains("<ul class=\"besides\">"));
}

#[test]
fn skipped_targets_are_not_problems() {
    let skipped = TargetResult { message: "disk".to_owned(), ..fixtures::result("a6s02", Outcome::Skipped) };
    let page = report(vec![fixtures::running("a6s01", Outcome::Ok, 900, 60), skipped]);
    assert!(page.contains("on all 2 nodes. 1 in maintenance.") && page.contains("1 of 2 (1 in maintenance)"), "{page}");
    assert!(page.contains("maintenance</span>") && page.contains("<p>None.</p>"), "{page}");
}

#[test]
fn an_empty_and_a_healthy_status_have_a_message() {
    assert!(report(Vec::new()).contains("No results: no node was queried."));
    let page = report(vec![fixtures::running("a6s01", Outcome::Ok, 900, 60)]);
    assert!(page.contains("all healthy</span> on all 1 nodes.") && page.contains("<p>None.</p>"), "{page}");
}

/// The policy names the scripts and styles of the page, and the page makes no request.
#[test]
fn the_page_is_self_contained() {
    let page = report(vec![failed("a6s02", "no")]);
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    let (_, style) = page.split_once("<style>").expect("a style");
    let (style, _) = style.split_once("</style>").expect("its end");
    let (_, script) = page.rsplit_once("<script>").expect("a script");
    let (script, _) = script.split_once("</script>").expect("its end");
    let escaped = |hash: &str| hash.replace('+', "&#43;").replace('/', "&#x2f;").replace('=', "&#x3d;");
    for part in [hash(style), hash(script)] {
        assert!(page.contains(&format!("sha256-{part}")) || page.contains(&escaped(&part)), "{part}");
    }
    for word in ["http:", "https:", "\"//", "url(", "@import", "innerHTML", "outerHTML", "insertAdjacentHTML", "eval("]
    {
        let without_comments: String =
            page.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        assert!(!without_comments.contains(word), "{word}");
    }
}

#[test]
fn more_troubles_than_anyone_reads_are_counted() {
    let results = (0..TROUBLES_SHOWN + 7).map(|number| TargetResult {
        service: Some(format!("service-{number}")),
        ..failed(&format!("n{number}"), "no")
    });
    let page = report(results.collect());
    assert!(page.contains("And 7 more problems, in the table below."));
    assert_eq!(page.matches("<th scope=\"row\" role=\"rowheader\">service-").count(), TROUBLES_SHOWN);
}

#[test]
fn a_thousand_nodes_stay_a_file_to_be_mailed() {
    let results = (0..10_000_u32).map(|number| TargetResult {
        service: Some(format!("contrail-service-{}", number % 10)),
        ..fixtures::running(&format!("n{:04}", number / 10), Outcome::Ok, number, u64::from(number))
    });
    let size = report(results.collect()).len();
    assert!(size < 1_000_000, "{size} bytes");
}

proptest! {
    /// Whatever a node sends, the data block ends where it should, is JSON, and hides nothing.
    #[test]
    fn any_text_stays_in_its_place(text in any::<String>(), tail in "[<>&!/a-z\"'-]{0,20}") {
        let text = format!("{text}{tail}");
        let failure = Failure::new(Stage::Connect, FailureKind::Refused, text.clone()).with_hint(text.clone());
        let lost = TargetResult { failure: Some(failure), ..fixtures::result("a6s03", Outcome::Unreachable) };
        let named = TargetResult { service: Some(text.clone()), role: Some(text.clone()), ..failed("a6s01", &text) };
        let page = report(vec![named, lost]);
        let tags = |page: &str| page.matches('<').count();
        let plain = report(vec![
            TargetResult { service: Some("x".to_owned()), role: Some("x".to_owned()), ..failed("a6s01", "x") },
            TargetResult {
                failure: Some(Failure::new(Stage::Connect, FailureKind::Refused, "x").with_hint("x")),
                ..fixtures::result("a6s03", Outcome::Unreachable)
            },
        ]);
        prop_assert_eq!(tags(&page), tags(&plain));
        let data: Value = serde_json::from_str(block(&page)).expect("JSON");
        let line = crate::text::single_line(&text);
        let texts = data["texts"].as_array().expect("texts");
        prop_assert!(texts.iter().any(|one| *one == line.as_str()));
        prop_assert!(page.chars().all(|char| char == '\n' || !char.is_control()));
    }
}
