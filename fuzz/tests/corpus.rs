//! Every target reads every file of its corpus: captures from real nodes, and inputs that once failed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect()
}

#[test]
fn every_target_reads_its_corpus() {
    for (name, target) in ctl_fuzz::TARGETS {
        let folder = corpus().join(name);
        for file in names(&folder) {
            let bytes = fs::read(folder.join(&file)).expect("a readable file");
            assert!(std::panic::catch_unwind(|| target(&bytes)).is_ok(), "corpus/{name}/{file}: the panic above");
        }
    }
}

/// So that a new target is also one for the fuzzer, and no corpus lies unread.
#[test]
fn every_target_has_a_corpus_and_a_program() {
    let targets: BTreeSet<String> = ctl_fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&corpus()), targets);
    let programs = names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("targets"));
    assert_eq!(programs, targets.iter().map(|name| format!("{name}.rs")).collect());
}
