//! The documentation as a whole: every page is in the summary of the book, and every link in it leads somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page, relative to the project.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![PathBuf::from("README.md"), PathBuf::from("CONTRIBUTING.md")];
    for directory in ["docs", "docs/decisions"] {
        let entries = fs::read_dir(root().join(directory)).expect("a readable directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        pages.extend(
            names.map(|name| Path::new(directory).join(name)).filter(|path| path.extension() == Some("md".as_ref())),
        );
    }
    pages
}

fn text(page: &Path) -> String {
    fs::read_to_string(root().join(page)).expect("a readable page")
}

/// The targets of the links in a page, without those to other sites.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

/// The anchors that GitHub and mdBook make of the headings of a page.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let kept = |symbol: char| symbol.is_alphanumeric() || symbol == '-' || symbol == '_' || symbol == ' ';
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|heading| heading.chars().filter(|symbol| kept(*symbol)).collect::<String>().replace(' ', "-"))
        .collect()
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = text(Path::new("docs/SUMMARY.md"));
    let listed: BTreeSet<PathBuf> = links(&summary).iter().map(|link| Path::new("docs").join(link)).collect();
    let docs = pages().into_iter().filter(|page| page.starts_with("docs") && !page.ends_with("SUMMARY.md"));
    assert_eq!(listed, docs.collect::<BTreeSet<_>>());
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let own = text(&page);
        for link in links(&own) {
            let (file, anchor) = link.split_once('#').map_or((link.as_str(), None), |(file, part)| (file, Some(part)));
            let target = if file.is_empty() { page.clone() } else { page.parent().expect("a parent").join(file) };
            let is_there = root().join(&target).exists();
            let has_anchor = anchor.is_none_or(|anchor| is_there && anchors(&text(&target)).contains(anchor));
            if !is_there || !has_anchor {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

/// The book and the packages have the pages below docs/, and nothing beside them.
#[test]
fn no_link_of_the_book_leaves_docs() {
    let mut outside = Vec::new();
    for page in pages().into_iter().filter(|page| page.starts_with("docs")) {
        for link in links(&text(&page)) {
            let steps_up = Path::new(&link).components().filter(|part| *part == Component::ParentDir).count();
            // A page in docs/ may not go up, one in docs/decisions/ once.
            if steps_up + 2 > page.components().count() {
                outside.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(outside.is_empty(), "links to what neither the book nor a package has:\n{}", outside.join("\n"));
}

#[test]
fn links_and_anchors_are_read() {
    assert_eq!(links("a [b](c.md#d), [e](https://f) and ![g](h.svg)"), ["c.md#d", "h.svg"]);
    assert_eq!(anchors("# The `a` b\ntext\n## c_d-e: f").into_iter().collect::<Vec<_>>(), ["c_d-e-f", "the-a-b"]);
}
