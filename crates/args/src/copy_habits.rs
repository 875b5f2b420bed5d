//! Lines of other tools that copy files, as lines of `ctl cp`: scp and rsync, pdcp and rpdcp, and clush with `--copy`.
//!
//! Pure, and without the parser: `advice.rs` shows a line only if the parser accepts it. Start at `copy_line`.

/// Options with a value, and those of `ctl cp` with their meaning; the value of any other is left out with it.
const SCP: &[(&str, Option<&str>)] = &[
    ("-P", Some("--port")),
    ("-i", Some("--identity")),
    ("-J", Some("-J")),
    ("-F", Some("--ssh-config")),
    ("-l", None),
    ("-o", None),
    ("-e", None),
];
const CLUSH: &[(&str, Option<&str>)] = &[
    ("-w", Some("-w")),
    ("--nodes", Some("-w")),
    ("-x", Some("-x")),
    ("-g", Some("-w @")),
    ("-X", Some("-x @")),
    ("-l", Some("-u")),
    ("-f", Some("-f")),
    ("--fanout", Some("-f")),
    ("-t", None),
    ("-u", None),
    ("-R", None),
    ("-o", None),
];

/// A line taken apart.
#[derive(Default)]
struct CopyLine {
    /// In the words of `ctl cp`.
    options: Vec<String>,
    paths: Vec<String>,
    /// The value of clush's `--dest`.
    target: Option<String>,
    is_from_nodes: bool,
}

/// The words of `ctl cp` for those of another tool, and the word that named it there.
pub(crate) fn copy_line(words: &[String]) -> Option<(String, Vec<String>)> {
    let (first, rest) = words.split_first()?;
    let line = match first.as_str() {
        "scp" | "rsync" => between_hosts(CopyLine::read(rest, SCP)?)?,
        "pdcp" => to_nodes(CopyLine::read(rest, CLUSH)?)?,
        "rpdcp" => from_nodes(CopyLine::read(rest, CLUSH)?)?,
        "copy" | "put" | "upload" => to_nodes(CopyLine::read(rest, CLUSH)?)?,
        "fetch" | "download" => from_nodes(CopyLine::read(rest, CLUSH)?)?,
        _ => {
            let option = words.iter().find(|word| {
                let name = word.split('=').next().unwrap_or_default();
                matches!(name, "--copy" | "-c" | "--rcopy")
            })?;
            let line = CopyLine::read(words, CLUSH)?;
            let line = if line.is_from_nodes { from_nodes(line)? } else { to_nodes(line)? };
            return Some((option.clone(), line));
        }
    };
    Some((first.clone(), line))
}

/// Ansible's arguments of the modules `copy` and `fetch`.
pub(crate) fn module_paths(module: &str, arguments: &[String]) -> Option<Vec<String>> {
    let value = |key: &str| arguments.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    let (source, target) = (value("src")?, value("dest")?);
    match module.rsplit('.').next()? {
        "copy" => Some(vec![source.to_owned(), on_nodes(target)]),
        "fetch" => Some(vec![on_nodes(source), target.to_owned()]),
        _ => None,
    }
}

impl CopyLine {
    fn read(words: &[String], valued: &[(&str, Option<&str>)]) -> Option<Self> {
        let mut line = Self::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            if !word.starts_with('-') || word == "-" {
                line.paths.push(word.clone());
                continue;
            }
            let (name, glued) = match word.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
                _ => (word.as_str(), None),
            };
            match name {
                "--copy" | "-c" => line.paths.extend(glued),
                "--rcopy" => {
                    line.is_from_nodes = true;
                    line.paths.extend(glued);
                }
                "--dest" => line.target = Some(glued.or_else(|| rest.next().cloned())?),
                "-q" | "-v" => line.options.push(name.to_owned()),
                _ => {
                    if let Some((_, ours)) = valued.iter().find(|(known, _)| *known == name) {
                        let value = glued.or_else(|| rest.next().cloned())?;
                        match ours.and_then(|ours| ours.strip_suffix(" @")) {
                            Some(ours) => line.options.extend([ours.to_owned(), format!("@{value}")]),
                            None => {
                                line.options.extend(ours.map(|ours| [ours.to_owned(), value]).into_iter().flatten())
                            }
                        }
                    }
                }
            }
        }
        Some(line)
    }
}

fn on_nodes(path: &str) -> String {
    if path.starts_with(':') { path.to_owned() } else { format!(":{path}") }
}

fn cp(options: Vec<String>, paths: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once("cp".to_owned()).chain(options).chain(paths).collect()
}

/// Files and a path on the nodes, which is that of the only file if there is no other.
fn to_nodes(mut line: CopyLine) -> Option<Vec<String>> {
    let target = match line.target.take() {
        Some(target) => target,
        None if line.paths.len() > 1 => line.paths.pop()?,
        None => line.paths.first()?.clone(),
    };
    (!line.paths.is_empty()).then(|| cp(line.options, line.paths.into_iter().chain([on_nodes(&target)])))
}

/// A path on the nodes and a directory here, which is the current one if there is no other.
fn from_nodes(line: CopyLine) -> Option<Vec<String>> {
    let mut paths = line.paths.into_iter();
    let source = on_nodes(&paths.next()?);
    let target = line.target.or_else(|| paths.next()).unwrap_or_else(|| ".".to_owned());
    Some(cp(line.options, [source, target]))
}

/// `FILE... [USER@]HOST:PATH`, or `[USER@]HOST:PATH FILE`.
fn between_hosts(mut line: CopyLine) -> Option<Vec<String>> {
    let remote = |word: &str| {
        let (host, path) = word.split_once(':').filter(|(host, _)| !host.is_empty() && !host.contains('/'))?;
        let (user, host) = host.rsplit_once('@').map_or((None, host), |(user, host)| (Some(user), host));
        let user = user.into_iter().flat_map(|user| ["-u".to_owned(), user.to_owned()]);
        Some((["-w".to_owned(), host.to_owned()].into_iter().chain(user).collect::<Vec<_>>(), format!(":{path}")))
    };
    let last = line.paths.pop()?;
    if let Some((options, target)) = remote(&last) {
        line.options.extend(options);
        return (!line.paths.is_empty()).then(|| cp(line.options, line.paths.into_iter().chain([target])));
    }
    let [source] = line.paths.as_slice() else { return None };
    let (options, source) = remote(source)?;
    line.options.extend(options);
    Some(cp(line.options, [source, last]))
}

/// The line for words as scp and kubectl take them: `NODE:PATH`.
#[must_use]
pub fn scp_target(last: &str, others: &[String]) -> Option<String> {
    /// The options that select the node and the user, and the path.
    fn parts(word: &str) -> Option<(Vec<&str>, String)> {
        let (host, path) = word.split_once(':').filter(|(host, _)| !host.is_empty() && !host.contains('/'))?;
        let (user, node) = host.rsplit_once('@').map_or((None, host), |(user, node)| (Some(user), node));
        let user = user.into_iter().flat_map(|user| ["-u", user]);
        Some((["ctl", "cp", "-w", node].into_iter().chain(user).collect(), format!(":{path}")))
    }
    if let Some((options, target)) = parts(last) {
        let files = others.iter().map(String::as_str);
        return shlex::try_join(options.into_iter().chain(files).chain([target.as_str()])).ok();
    }
    let [source] = others else { return None };
    let (options, source) = parts(source)?;
    shlex::try_join(options.into_iter().chain([source.as_str(), last])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_copy() {
        for (typed, expected) in [
            ("scp hosts a6s01:/tmp/", "cp -w a6s01 hosts :/tmp/"),
            ("scp -P 2222 -i id a b root@a6s01:", "cp --port 2222 --identity id -w a6s01 -u root a b :"),
            ("scp -rp root@a6s01:/etc/hosts .", "cp -w a6s01 -u root :/etc/hosts ."),
            ("rsync -avz f a6s01:/tmp/f", "cp -w a6s01 f :/tmp/f"),
            ("pdcp -w a6s[01-03] -x a6s02 a /tmp/a", "cp -w a6s[01-03] -x a6s02 a :/tmp/a"),
            ("rpdcp -g rack1 /etc/hosts out", "cp -w @rack1 :/etc/hosts out"),
            ("-w a6s01 --copy /etc/hosts", "cp -w a6s01 /etc/hosts :/etc/hosts"),
            ("-a -c a b --dest /tmp/", "cp a b :/tmp/"),
            ("-b -w a6s01 -l ops --rcopy /etc/hosts --dest=out", "cp -w a6s01 -u ops :/etc/hosts out"),
            ("-w a6s01 --rcopy=/etc/hosts", "cp -w a6s01 :/etc/hosts ."),
            ("put a /tmp/a", "cp a :/tmp/a"),
            ("fetch /etc/hosts", "cp :/etc/hosts ."),
            ("copy -w a6s01 a :/tmp/a", "cp -w a6s01 a :/tmp/a"),
            // No copy, or one that cannot be said.
            ("-w a6s01 uptime", ""),
            ("scp a b", ""),
            ("scp a6s01:/a a6s02:/b c", ""),
            ("put", ""),
            ("-w a6s01 --copy", ""),
            ("-c", ""),
            ("", ""),
        ] {
            let words: Vec<String> = typed.split_whitespace().map(str::to_owned).collect();
            let line = copy_line(&words).map(|(_, line)| line.join(" ")).unwrap_or_default();
            assert_eq!(line, expected, "{typed}");
        }
        let arguments = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            module_paths("ansible.builtin.copy", &arguments("src=a dest=/tmp/a mode=0644")),
            Some(arguments("a :/tmp/a"))
        );
        assert_eq!(module_paths("fetch", &arguments("src=/etc/hosts dest=out")), Some(arguments(":/etc/hosts out")));
        assert_eq!(module_paths("copy", &arguments("content=x dest=/tmp/a")), None);
    }
}
