//! Text from a malicious node: the report shows it as text, and it has no effect on the page.

use contrail_ctl::event::{FindingKind, NodeFacts, NodeFinding, ProcessState, SupervisorFacts, TargetResult, Via};
use serde_json::json;

use crate::chromium::Browser;
use crate::synthetic::{Status, running, unreachable};

/// Texts of a malicious node. Each would set `pwned`, load a resource, or hide content, if the page did not treat it as
/// text.
const HOSTILE: [&str; 14] = [
    "</script><img src=x onerror=\"pwned=1\">",
    "</SCRIPT\t><script>pwned=1</script>",
    "<!--<script>",
    "--><script>pwned=1</script><!--",
    "]]><svg/onload=pwned=1>",
    "</style><style>*{display:none}</style>",
    "\"><iframe src=\"http://example.invalid/\"></iframe>",
    "' autofocus onfocus='pwned=1",
    "{{ 7 * 7 }} ${pwned=1} {% include %}",
    "javascript:pwned=1",
    "<meta http-equiv=refresh content=\"0;url=http://example.invalid/\">",
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "\u{202e}gnp.exe\u{2069}\u{200b}\u{2028}alert(1)\u{2029}",
    "&lt;b&gt; &amp;lt; \\u003cb\\u003e \\",
];

/// A status in which every text that a node can choose is this text.
fn status(text: &str, number: usize) -> Status {
    let node = format!("n{number:02}");
    let failed = TargetResult {
        state: Some(ProcessState::Fatal),
        message: text.to_owned(),
        functional: None,
        version: Some(text.to_owned()),
        ..running(&node, text, text)
    };
    let starting = TargetResult {
        functional: Some(text.into()),
        functional_reason: Some(text.to_owned()),
        ..running(&node, "analytics", "contrail-collector")
    };
    let mut lost = unreachable(&format!("u{number:02}"), "compute");
    if let Some(failure) = &mut lost.failure {
        failure.message = text.to_owned();
        failure.hint = Some(text.to_owned());
    }
    let finding = NodeFinding {
        kind: FindingKind::CoreFiles,
        role: Some(text.to_owned()),
        message: text.to_owned(),
        details: vec![text.to_owned()],
        count: None,
    };
    let supervisor = SupervisorFacts {
        role: "analytics".to_owned(),
        name: text.to_owned(),
        address: Some(text.to_owned()),
        via: Via::Rpc,
        version: Some(text.to_owned()),
        pid: None,
    };
    let facts = NodeFacts {
        node,
        supervisors: vec![supervisor],
        packages: [(text.to_owned(), text.to_owned())].into(),
        findings: vec![finding],
    };
    Status { results: vec![failed, starting, lost], facts: vec![facts] }
}

#[test]
fn text_of_a_node_is_text() {
    let folder = tempfile::TempDir::new().expect("cannot create the directory");
    let file = folder.path().join("report.html");
    let mut all = Status::default();
    for (number, text) in HOSTILE.iter().enumerate() {
        let one = status(text, number);
        all.results.extend(one.results);
        all.facts.extend(one.facts);
    }
    let count = all.results.len();
    all.write(&file);
    let written = std::fs::read_to_string(&file).expect("cannot read the file");
    assert!(
        !written.chars().any(|char| char.is_control() && char != '\n'),
        "expected only text that is safe on a terminal"
    );
    assert!(!written.contains('\u{202e}') && !written.contains('\u{2028}'));

    let browser = Browser::start();
    let mut page = browser.page(1280, 900);
    page.open(&file);
    page.click("#open-all");
    assert_eq!(page.text("#count"), format!("Showing {count} of {count} services on 28 of 28 nodes."));
    // The text is displayed where it belongs, unchanged except for characters that a terminal would hide.
    let shown = page.eval("document.body.textContent");
    let shown = shown.as_str().expect("expected a text");
    for text in HOSTILE {
        let visible = contrail_ctl::sink::text::single_line(text);
        let times = shown.matches(visible.as_str()).count();
        assert!(times >= 6, "{visible}: {times} times");
    }
    // No part of it became markup.
    let made = "[typeof pwned, document.querySelectorAll('img, svg, iframe, b, object, embed').length,\
                document.scripts.length, document.querySelectorAll('style').length, document.querySelectorAll('meta').length,\
                document.querySelectorAll('[onerror], [onfocus], [onload], [style]').length, document.title.includes('pwned')]";
    assert_eq!(page.eval(made), json!(["undefined", 0, 2, 1, 6, 0, false]));
    assert_eq!(page.eval("document.querySelector('footer').getBoundingClientRect().height > 0"), true);
    assert_eq!(page.console(), Vec::<serde_json::Value>::new());
    assert_eq!(page.requests(), [format!("file://{}", file.display())]);
    assert_eq!(browser.trapped(), Vec::<String>::new());
}

/// Even if an element could be injected into the page, the page's policy forbids it to run or to load anything.
#[test]
fn the_policy_holds_if_all_else_fails() {
    let folder = tempfile::TempDir::new().expect("cannot create the directory");
    let file = folder.path().join("report.html");
    Status { results: vec![running("n1", "analytics", "contrail-collector")], facts: Vec::new() }.write(&file);
    let browser = Browser::start();
    let mut page = browser.page(1280, 900);
    page.open(&file);
    page.eval(
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"http://example.invalid/x.png\" onerror=\"pwned=1\">');\
         const script = document.createElement('script'); script.textContent = 'pwned=2'; document.body.append(script);\
         fetch('http://example.invalid/').catch(() => 0)",
    );
    assert_eq!(page.eval("typeof pwned"), "undefined");
    assert_eq!(browser.trapped(), Vec::<String>::new());
    assert!(!page.console().is_empty(), "expected an error from the browser's policy");
}
