//! The content of a report, and the effect of its filters.

use std::path::{Path, PathBuf};

use contrail_lab::{ClusterSpec, Fault};
use serde_json::{Value, json};

use crate::chromium::{Browser, Page};
use crate::harness::{Cluster, FAST, list, word};
use crate::synthetic::{large, running, unreachable};

/// The sizes of a phone and of a desktop screen.
const PHONE: (u32, u32) = (320, 640);
const SCREEN: (u32, u32) = (1280, 900);

/// A lab with every kind of issue, for a report.
fn lab() -> Cluster {
    let spec = ClusterSpec::demo(12).timing(FAST);
    let spec = spec.fault("a6s02", Fault::Fatal("contrail-collector".to_owned())).fault("c02", Fault::Refused);
    let spec = spec.fault("cfg01", Fault::ControlCharacters).fault("cfg01", Fault::Backoff("contrail-api".to_owned()));
    Cluster::start(spec.fault("db01", Fault::SupervisorDown))
}

/// The path of the report that the real binary makes of the lab.
fn report_of(cluster: &Cluster) -> PathBuf {
    let file = cluster.path("report.html");
    let run = cluster.ctl(&format!("status -o html --out {}", file.display())).expect(4);
    assert!(run.stdout.is_empty(), "{run}");
    file
}

/// The data in a report.
fn data(file: &Path) -> Value {
    let text = std::fs::read_to_string(file).expect("cannot read the file");
    let begun = text.split_once("id=\"data\">").expect("cannot find the data").1;
    serde_json::from_str(begun.split_once("</script>").expect("cannot find the end of the data").0)
        .expect("the data is not valid JSON")
}

/// One column of all results, as text.
fn column(data: &Value, name: &str) -> Vec<String> {
    let place = list(&data["columns"]).iter().position(|column| column[0] == name).expect("no such column");
    let kind = word(&data["columns"][place][1]);
    let value = |result: &Value| match (kind, result[place].as_u64()) {
        (_, None) => String::new(),
        ("text", Some(index)) => word(&data["texts"][index as usize]).to_owned(),
        ("health", Some(index)) => word(&data["healths"][index as usize]["word"]).to_owned(),
        (_, Some(number)) => number.to_string(),
    };
    list(&data["results"]).iter().map(value).collect()
}

/// The numbers in the table's header: services shown, and services in total.
#[track_caller]
fn counts(page: &mut Page) -> [usize; 4] {
    let words = page.text("#count");
    let numbers: Vec<usize> = words.split([' ', '.']).filter_map(|word| word.replace(',', "").parse().ok()).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("no counts: {words}"))
}

/// The selector of a filter's checkbox.
fn filter(name: &str, value: &str) -> String {
    format!("#filter-{name} input[value={}]", json!(value))
}

/// Asserts that the page has written nothing to the console and made no request.
#[track_caller]
fn is_silent(browser: &Browser, page: &mut Page, file: &Path) {
    assert_eq!(page.console(), Vec::<Value>::new());
    let mut requests = page.requests();
    requests.dedup();
    assert_eq!(requests, [format!("file://{}", file.display())]);
    assert_eq!(browser.trapped(), Vec::<String>::new());
}

/// Proves that the tests below would detect a violation.
#[test]
fn what_is_looked_for_would_be_seen() {
    let browser = Browser::start();
    let folder = tempfile::TempDir::new().expect("cannot create the directory");
    let file = folder.path().join("bad.html");
    let text = "<!DOCTYPE html><title>x</title><img src='http://example.invalid/x.png'><p style='color:#aaa'>pale</p>\
                <script>console.debug('said'); null.x</script>";
    std::fs::write(&file, text).expect("cannot write the file");
    let mut page = browser.page(320, 640);
    page.open(&file);
    let said = page.console();
    assert!(said.iter().any(|params| params["type"] == "debug"), "{said:?}");
    assert!(said.iter().any(|params| params["exceptionDetails"].is_object()), "{said:?}");
    assert!(page.requests().iter().any(|url| url == "http://example.invalid/x.png"), "{:?}", page.requests());
    assert!(browser.trapped().iter().any(|line| line.contains("example.invalid")), "{:?}", browser.trapped());
    let faults = axe(&mut page);
    for rule in ["color-contrast", "image-alt", "html-has-lang"] {
        assert!(faults.iter().any(|fault| fault.starts_with(rule)), "{rule}: {faults:?}");
    }
}

/// A report opens without console messages and requests, and has the same issues as the status.
#[test]
fn a_report_opens_in_silence_and_says_what_is_wrong() {
    let cluster = lab();
    let file = report_of(&cluster);
    let browser = Browser::start();
    let mut page = browser.page(SCREEN.0, SCREEN.1);
    page.open(&file);
    assert_eq!(page.text(".verdict"), "4 of 12 nodes are not healthy; 4 of 55 services and supervisords are not.");
    let troubles = page.text(".troubles tbody");
    let lines: Vec<&str> = troubles.lines().map(str::trim_end).collect();
    let expected = [
        ("? unreachable", "node", "c02", "refused"),
        ("▼ down", "supervisor-database", "db01", "the socket exists but nothing is listening on it"),
        ("✗ failed", "contrail-collector", "a6s02", "FATAL"),
        ("✗ failed", "contrail-api:0", "cfg01", "BACKOFF"),
    ];
    assert_eq!(lines.len(), expected.len(), "{troubles}");
    for (line, (how, what, node, why)) in lines.iter().zip(expected) {
        assert!(line.starts_with(how) && [what, node, why].iter().all(|word| line.contains(word)), "{line}");
    }
    let data = data(&file);
    let (roles, troubles) = (list(&data["overview"]["roles"]), list(&data["overview"]["troubles"]));
    assert_eq!(roles.len(), page.eval("document.querySelectorAll('.roles tbody tr').length"));
    assert_eq!(troubles.len(), expected.len());
    assert_eq!((&data["schema"], &data["run"]["exit_code"]), (&"ctl-report/1".into(), &4.into()));
    is_silent(&browser, &mut page, &file);
}

/// Functional states, versions and findings are in the report too, and can be searched.
#[test]
fn what_only_a_status_in_depth_knows_is_shown() {
    let description = "Database:Cassandra connection down".to_owned();
    let program = "contrail-collector".to_owned();
    let spec = ClusterSpec::demo(6).timing(FAST).fault("a6s01", Fault::NonFunctional { program, description });
    let cluster = Cluster::start(spec.fault("c01", Fault::CoreFile("contrail-vrouter-agent".to_owned())));
    let file = cluster.path("report.html");
    cluster.ctl(&format!("status -o html --out {}", file.display())).expect(3);
    let browser = Browser::start();
    let mut page = browser.page(SCREEN.0, SCREEN.1);
    page.open(&file);
    let troubles = page.text(".troubles tbody");
    for words in ["… initializing", "contrail-collector", "Cassandra connection down", "! finding", "core files", "c01"]
    {
        assert!(troubles.contains(words), "{words}: {troubles}");
    }
    page.eval("document.getElementById('filter-text').focus()");
    page.write("cassandra");
    let [found, ..] = counts(&mut page);
    let shown = page.text("#services");
    assert!(found == 1 && shown.contains("a6s01") && shown.contains("initializing"), "{shown}");
    assert!(shown.contains("supervisor-analytics 3.3.1 over rpc"), "{shown}");
    is_silent(&browser, &mut page, &file);
}

/// Each filter shows the matching data, several filters show what matches all of them, and clearing them shows
/// everything again.
#[test]
fn filters_change_what_is_shown() {
    let cluster = lab();
    let file = report_of(&cluster);
    let data = data(&file);
    let (nodes, roles) = (column(&data, "node"), column(&data, "role"));
    let (services, healths, states) = (column(&data, "service"), column(&data, "health"), column(&data, "state"));
    let all = nodes.len();
    let of = |is: &dyn Fn(usize) -> bool| (0..all).filter(|place| is(*place)).count();
    let browser = Browser::start();
    let mut page = browser.page(SCREEN.0, SCREEN.1);
    page.open(&file);
    assert_eq!(counts(&mut page), [all, all, 12, 12]);

    page.click(&filter("role", "analytics"));
    assert_eq!(counts(&mut page), [of(&|at| roles[at] == "analytics"), all, 3, 12]);
    let shown = page.text("#services");
    assert!(shown.contains("contrail-collector") && !shown.contains("contrail-api:0"), "{shown}");

    page.click(&filter("role", "config"));
    let both = of(&|at| roles[at] == "analytics" || roles[at] == "config");
    assert_eq!(counts(&mut page), [both, all, 5, 12]);

    let failed = data["healths"].as_array().and_then(|words| words.iter().position(|one| one["word"] == "failed"));
    page.click(&filter("health", &failed.expect("expected a health").to_string()));
    assert_eq!(counts(&mut page), [of(&|at| healths[at] == "failed"), all, 2, 12]);

    page.click(&filter("state", "BACKOFF"));
    assert_eq!(counts(&mut page), [of(&|at| states[at] == "BACKOFF"), all, 1, 12]);
    assert_eq!(page.eval("document.querySelectorAll('#services .service').length"), 1);
    let shown = page.text("#services");
    assert!(shown.contains("cfg01") && shown.contains("contrail-api:0") && shown.contains("BACKOFF"), "{shown}");

    page.click("#filter button[type=reset]");
    assert_eq!(counts(&mut page), [all, all, 12, 12]);
    assert_eq!(page.eval("document.querySelectorAll('#filter input:checked').length"), 0);

    // All words must match, in any column, ignoring case.
    page.eval("document.getElementById('filter-text').focus()");
    page.write("A6S02 collector");
    let found = of(&|at| nodes[at] == "a6s02" && services[at].contains("collector"));
    assert_eq!(counts(&mut page), [found, all, 1, 12]);
    page.write(" quickly");
    assert_eq!(counts(&mut page), [1, all, 1, 12], "expected the reason to be searched too");
    page.write(" nowhere");
    assert_eq!(counts(&mut page), [0, all, 0, 12]);
    assert_eq!(page.eval("document.querySelectorAll('#services .service').length"), 0);
    is_silent(&browser, &mut page, &file);
}

/// Nodes can be opened and closed, and boxes checked, with the keyboard alone; the focused element is visibly marked.
#[test]
fn the_keyboard_is_enough() {
    let folder = tempfile::TempDir::new().expect("cannot create the directory");
    let file = folder.path().join("report.html");
    large(20, 3).write(&file);
    let browser = Browser::start();
    let mut page = browser.page(SCREEN.0, SCREEN.1);
    page.open(&file);
    let focus = "document.activeElement.className || document.activeElement.name || document.activeElement.type";
    page.key("Tab", 9, "");
    assert_eq!(page.eval(focus), "skip");
    page.key("Tab", 9, "");
    assert_eq!(page.eval(focus), "role");
    let outline = "getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(page.eval(outline), "solid");
    page.key(" ", 32, " ");
    let [services, ..] = counts(&mut page);
    assert_eq!(
        services, 12,
        "expected the four nodes of the first role to be open, because a filter selects their services"
    );
    let expanded = "document.activeElement.getAttribute('aria-expanded')";
    for _ in 0..40 {
        if page.eval(expanded).is_string() {
            break;
        }
        page.key("Tab", 9, "");
    }
    let rows = "document.querySelectorAll('#services .service').length";
    assert_eq!((page.eval(expanded), page.eval(rows)), ("true".into(), 12.into()));
    page.key("Enter", 13, "\r");
    assert_eq!(
        (page.eval(expanded), page.eval(rows)),
        ("false".into(), 9.into()),
        "expected the element to keep the focus"
    );
    page.key("Enter", 13, "\r");
    assert_eq!((page.eval(expanded), page.eval(rows)), ("true".into(), 12.into()));
}

/// A thousand nodes with ten services each: only a small part is in the page at a time, and every part can be reached.
#[test]
fn a_thousand_nodes_are_drawn_a_few_at_a_time() {
    let folder = tempfile::TempDir::new().expect("cannot create the directory");
    let file = folder.path().join("report.html");
    let status = large(1000, 10);
    let all = status.results.len();
    let wrong = status.results.iter().filter(|result| result.node == "n0500").count();
    status.write(&file);
    let browser = Browser::start();
    let mut page = browser.page(SCREEN.0, SCREEN.1);
    page.open(&file);
    assert_eq!(counts(&mut page), [all, all, 1000, 1000]);
    let elements = "document.querySelectorAll('#services *').length";
    let first = page.eval(elements).as_u64().expect("expected a number");
    assert!(first < 6000, "{first} elements");
    page.eval("document.getElementById('filter-text').focus()");
    page.write("n0500");
    assert_eq!(counts(&mut page), [wrong, all, 1, 1000]);
    page.click("#filter button[type=reset]");
    // The last node is reached after as many steps as there are nodes.
    for _ in 0..1000 {
        if page.eval("document.getElementById('rest').hidden") == true {
            break;
        }
        page.click("#more");
        assert_eq!(
            page.eval("document.activeElement.closest('#services') !== null"),
            true,
            "expected the focus to move along"
        );
    }
    assert_eq!(page.eval("document.querySelectorAll('#services .node').length"), 1000);
    page.click("#open-all");
    let opened = page.eval(elements).as_u64().expect("expected a number");
    assert!(opened < 6000, "{opened} elements");
    is_silent(&browser, &mut page, &file);
}

/// On a phone nothing is wider than the page, and all content is shown.
#[test]
fn it_fits_a_phone() {
    let folder = tempfile::TempDir::new().expect("cannot create the directory");
    let file = folder.path().join("report.html");
    let mut status = large(60, 4);
    // Names that cannot wrap.
    status.results.push(running(&"n".repeat(200), "compute", &"s".repeat(380)));
    status.results.push(unreachable(&"u".repeat(250), &"r".repeat(300)));
    status.write(&file);
    let browser = Browser::start();
    let mut page = browser.page(PHONE.0, PHONE.1);
    for width in [PHONE.0, 600, 1030, SCREEN.0] {
        page.resize(width, PHONE.1);
        page.open(&file);
        page.click("#open-all");
        let widths = page.eval("[document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth]");
        let widths: Vec<u64> = list(&widths).iter().filter_map(Value::as_u64).collect();
        assert!(widths.iter().all(|one| *one <= u64::from(width)), "{widths:?} at {width}");
        // No part of a card is cut off either.
        let cut = "[...document.querySelectorAll('main *:not(.hidden):not(thead):not(thead *)')]\
                   .filter((one) => one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML)";
        assert_eq!(page.eval(cut), json!([]), "at {width}");
    }
    page.resize(PHONE.0, PHONE.1);
    let label = "getComputedStyle(document.querySelector('.troubles td'), '::before').content";
    assert!(word(&page.eval(label)).contains("attr(data-label)") || word(&page.eval(label)).contains("Status"));
    is_silent(&browser, &mut page, &file);
}

/// Without JavaScript the issues are shown, and no control that would not work.
#[test]
fn without_javascript_what_is_wrong_is_there() {
    let cluster = lab();
    let file = report_of(&cluster);
    let browser = Browser::start();
    let mut page = browser.page(SCREEN.0, SCREEN.1);
    page.call("Emulation.setScriptExecutionDisabled", json!({"value": true}));
    page.open(&file);
    let text = page.text("body");
    for words in ["2 of 3", "contrail-collector", "a6s02", "FATAL", "needs JavaScript"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("Clear the filters"), "{text}");
    is_silent(&browser, &mut page, &file);
}

/// A print has the visible content, black on white, without controls.
#[test]
fn it_prints() {
    let folder = tempfile::TempDir::new().expect("cannot create the directory");
    let file = folder.path().join("report.html");
    large(20, 3).write(&file);
    let browser = Browser::start();
    let mut page = browser.page(SCREEN.0, SCREEN.1);
    page.media("print", "dark");
    page.open(&file);
    let look = "[getComputedStyle(document.body).color, getComputedStyle(document.getElementById('filter')).display]";
    assert_eq!(page.eval(look), json!(["rgb(0, 0, 0)", "none"]));
    is_silent(&browser, &mut page, &file);
}

/// axe-core finds nothing of any severity, in light and dark mode, on a phone and on a screen.
#[test]
fn axe_finds_no_fault() {
    let folder = tempfile::TempDir::new().expect("cannot create the directory");
    let file = folder.path().join("report.html");
    let mut status = large(120, 6);
    status.results.push(running("n9999", "compute", "contrail-vrouter-agent"));
    status.write(&file);
    let cluster = lab();
    let report = report_of(&cluster);
    let browser = Browser::start();
    let mut page = browser.page(SCREEN.0, SCREEN.1);
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        for (width, height) in [SCREEN, PHONE] {
            page.media("screen", scheme);
            page.resize(width, height);
            for file in [&file, &report] {
                page.open(file);
                page.click("#open-all");
                assert_eq!(axe(&mut page), Vec::<String>::new(), "{scheme} {width} {}", file.display());
            }
            grounds.push(page.eval("getComputedStyle(document.body).backgroundColor"));
        }
    }
    grounds.dedup();
    assert_eq!(grounds.len(), 2, "expected different backgrounds: {grounds:?}");
}

/// The violations that axe-core finds, of any severity: the rule, its severity, and the elements.
#[track_caller]
fn axe(page: &mut Page) -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/axe-core-4.12.1/axe.min.js");
    let source = std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}: tests/run puts it there", file.display()));
    page.eval(&format!("{source}; 0"));
    let run = page.eval(
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})\
         .then(({violations, passes}) => ({passes: passes.length, violations: violations.map((one) =>\
         `${one.id} (${one.impact}): ${one.nodes.slice(0, 3).map((node) => node.html).join(' | ')}`)}))",
    );
    assert!(run["passes"].as_u64().is_some_and(|passes| passes > 0), "axe-core checked nothing: {run}");
    list(&run["violations"]).iter().map(|fault| word(fault).to_owned()).collect()
}
