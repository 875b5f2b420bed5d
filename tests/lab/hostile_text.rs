//! Text from a hostile node never reaches a terminal, a log or a spreadsheet unescaped.
//!
//! Each of [`answers`] is used by one node in every text that a node can send (`Fault::Says`, package versions, core
//! files, introspect descriptions). The test scans every output format of every command, including the logs of `-v` and
//! `--log-file`.

use std::fmt::Write as _;

use contrail_lab::{ClusterSpec, Fault};

use crate::harness::{COLLECTOR, Cluster, Finished, Running, uniform};

/// Texts that a spreadsheet would evaluate.
const FORMULAS: [&str; 4] = ["=HYPERLINK(\"http://evil\")", "+1+1", "-1-1", "@SUM(1)"];

/// Hostile texts, one of each kind.
fn answers() -> Vec<String> {
    let escapes = [
        "\x1b[2J",
        "\x1b[31mred\x1b[0m",
        "\x1b]0;title\x07",
        "\x1b]52;c;aGVsbG8=\x07",
        "\x1b]8;;http://evil\x1b\\x\x1b]8;;\x1b\\",
        "\x1bP$q\"p\x1b\\",
        "\x1b[6n",
        "\x1bc",
        "\x1b(0",
        "\x1b#8",
        "\x1b[?1049h",
        "\x1b[?25l",
        "\x1b[20t",
        "\x1b[5i",
        "\x1b_payload\x1b\\",
        "\x1b^private\x1b\\",
        "\u{9b}2J",
        "\u{9d}0;title\u{9c}",
        "\u{90}q\u{9c}",
        "\u{85}next line",
        "\u{84}",
        "\u{8d}up",
        "\u{98}x\u{9c}",
        "\u{9f}x\u{9c}",
    ];
    let controls = [
        "\x01",
        "\x02",
        "\x05",
        "\x07bell",
        "back\x08\x08\x08\x08gone",
        "\x0bvertical",
        "\x0cform",
        "over\rwritten",
        "\x0eshift",
        "\x0f",
        "\x11",
        "\x13stopped",
        "\x18",
        "\x1a",
        "\x7fdelete",
        "\ttab",
        "one\n2026-03-01T00:00:00Z ERROR forged: line",
        "one\r\nnode2: forged",
        "\n\n\n\n\n\n\n\n",
    ];
    let invisible = [
        "\u{202a}a",
        "\u{202b}a",
        "\u{202c}a",
        "\u{202d}a",
        "\u{202e}gnp.exe",
        "\u{2066}a",
        "\u{2067}a",
        "\u{2068}a",
        "\u{2069}a",
        "\u{200e}a",
        "\u{200f}a",
        "\u{61c}a",
        "zero\u{200b}width",
        "\u{200c}a",
        "\u{200d}a",
        "\u{2060}a",
        "\u{feff}a",
        "\u{180e}a",
        "\u{2028}line",
        "\u{2029}paragraph",
        "soft\u{ad}hyphen",
        "\u{fff9}a\u{fffb}",
        "\u{e0041}\u{e0042}tags",
        "\u{2061}a",
        "\u{3164}filler",
        "\u{fe0f}a",
    ];
    let all = escapes.iter().chain(&controls).chain(&invisible).chain(&FORMULAS);
    all.map(|text| (*text).to_owned()).collect()
}

/// The texts that the nodes send. Each combines a few answers, so that there are few nodes and no answer is past the
/// display limit of a text.
fn speeches() -> Vec<String> {
    let answers = answers();
    assert!(answers.len() >= 60, "{}", answers.len());
    answers.chunks(6).map(|some| some.join(" ")).collect()
}

/// A node for each text. On a third of the nodes the collector does not come up, on a third it is up but not healthy.
fn cluster() -> Cluster {
    let answers = speeches();
    let mut spec: ClusterSpec = uniform(answers.len());
    for (place, (answer, node)) in answers.into_iter().zip(&mut spec.nodes).enumerate() {
        node.faults.extend([
            Fault::Version(format!("3.2{answer}")),
            Fault::CoreFile(format!("core{answer}")),
            Fault::LeftConfig(format!("left{answer}")),
        ]);
        match place % 3 {
            0 => node.faults.push(Fault::Fatal(COLLECTOR.to_owned())),
            1 => node.faults.push(Fault::NonFunctional { program: COLLECTOR.to_owned(), description: answer.clone() }),
            _ => {}
        }
        node.faults.push(Fault::Says(answer));
    }
    Cluster::start(spec)
}

/// The forbidden characters of a text, each with its context.
fn raw(text: &str) -> String {
    let is_raw = |char: char| {
        (char.is_control() && char != '\n')
            || matches!(char, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}')
    };
    let mut found = String::new();
    for (number, line) in text.split('\n').enumerate() {
        if let Some(char) = line.chars().find(|char| is_raw(*char)) {
            writeln!(found, "line {}: {char:?} in {line:?}", number + 1).expect("writing to a String cannot fail");
        }
    }
    found
}

#[track_caller]
fn scan(run: &Finished) {
    for (name, text) in [("stdout", &run.stdout), ("stderr", &run.stderr)] {
        let found = raw(text);
        assert!(found.is_empty(), "unescaped characters on {name}:\n{found}");
    }
}

/// Every line of a log begins with its time, so a line end sent by a node does not start a new line.
#[track_caller]
fn is_a_log(text: &str) {
    assert!(text.lines().count() > 10, "{text}");
    for line in text.lines() {
        let is_event = line.starts_with("20") && line.get(10..11) == Some("T");
        assert!(is_event && !line.starts_with("2026-03-01T00:00:00Z"), "{line:?}");
    }
}

#[test]
fn no_form_lets_it_through() {
    let cluster = cluster();
    for words in ["status --all", "service all status", "ping", "logs contrail-collector -n 5"] {
        for form in cluster.formats(words) {
            scan(&cluster.ctl(&format!("{words} -o {form}")));
        }
    }
    for form in cluster.formats("service all restart") {
        scan(&cluster.ctl(&format!("service {COLLECTOR} restart -y --timeout 20s -o {form}")));
        scan(&cluster.ctl(&format!("service no-such restart -y -r analytics -o {form}")));
        for (place, answer) in speeches().iter().enumerate().step_by(4) {
            let node = cluster.nodes()[place].name().to_owned();
            scan(&cluster.exec(&format!("-w {node} -o {form}"), &["echo", answer]).finish());
        }
    }
    for form in cluster.formats("runs show last") {
        scan(&Running::start(cluster.bare(&format!("runs show last -o {form}"))).finish().expect(0));
    }
    let (before, after) = (cluster.path("before.json"), cluster.path("after.json"));
    scan(&cluster.ctl(&format!("status --all --save {}", before.display())));
    scan(&cluster.ctl(&format!("service {COLLECTOR} stop -y")).expect(0));
    scan(&cluster.ctl(&format!("status --all --save {}", after.display())));
    for file in [&before, &after] {
        let text = std::fs::read_to_string(file).expect("cannot read the file");
        assert_eq!(raw(&text), "", "{}", file.display());
    }
    let diff = format!("snapshot diff {} {}", before.display(), after.display());
    for form in cluster.formats(&diff) {
        scan(&cluster.ctl(&format!("{diff} -o {form}")));
    }
}

/// No cell of the CSV is one that a spreadsheet would evaluate.
#[test]
fn no_cell_is_a_formula() {
    let cluster = Cluster::start(uniform(1));
    for formula in FORMULAS {
        let run = cluster.exec("-o csv", &["echo", "-n", formula]).finish().expect(0);
        let cell = format!("'{}", formula.replace('"', "\"\""));
        assert!(run.stdout.contains(&format!(",{cell},")) || run.stdout.contains(&format!(",\"{cell}\",")), "{run}");
    }
}

#[test]
fn no_backend_lets_it_through() {
    let cluster = cluster();
    for via in ["rpc", "supervisorctl", "service"] {
        scan(&cluster.ctl(&format!("service all status --via {via} -o wide")));
        scan(&cluster.ctl(&format!("service {COLLECTOR} restart -y --via {via} --timeout 20s -o wide")));
    }
}

#[test]
fn the_log_is_one_line_an_event() {
    let cluster = cluster();
    for level in ["-v", "-vv"] {
        for words in ["status --all", "ping", "service contrail-collector restart -y --timeout 20s"] {
            let file = cluster.path("log");
            let run = cluster.ctl(&format!("{words} {level} --log-file {}", file.display()));
            scan(&run);
            let log = std::fs::read_to_string(&file).expect("cannot read the file");
            assert_eq!(raw(&log), "");
            is_a_log(&log);
            std::fs::remove_file(&file).expect("cannot remove the file");
            scan(&cluster.ctl(&format!("{words} {level}")));
        }
    }
}

/// Errors quote text that the operator pasted, and text from files.
#[test]
fn errors_quote_it_safely() {
    let cluster = Cluster::start(uniform(1));
    for (place, answer) in speeches().iter().enumerate() {
        let yaml = serde_json::to_string(answer).expect("JSON");
        let texts = [
            format!("version: 1\nnodes:\n  {yaml}: {{roles: [analytics]}}\n"),
            format!("version: 1\nnodes: {{n: {{roles: [analytics], address: {yaml}}}}}\n# {answer}\n"),
            format!("version: 1\nnodes: {{n: {{roles: [{yaml}], maintenance: {yaml}}}}}\n"),
            format!("version: 1\nnodes: {{n: {{roles: [analytics]}}}}\ngroups: {{{yaml}: n}}\n"),
            format!("version: 1 {answer}\nnodes: {{n: {{roles: [analytics]}}}}\n"),
        ];
        for text in texts {
            let file = cluster.write("inventory.yaml", text);
            for words in ["inventory list", "inventory check -o yaml", "inventory show n -o json", "ssh-config n"] {
                let mut command = cluster.bare(words);
                command.arg("-i").arg(&file);
                scan(&Running::start(command).finish());
            }
        }
        for option in ["-w", "-r", "--serial", "-o", "--reason", "--save"] {
            // To save time, as each run is a process.
            if place % 3 == 0 {
                let mut command = cluster.command("status");
                command.args([option, answer]);
                scan(&Running::start(command).finish());
            }
        }
        let mut command = cluster.bare("nodeset fold");
        command.arg(answer);
        scan(&Running::start(command).finish());
    }
}
