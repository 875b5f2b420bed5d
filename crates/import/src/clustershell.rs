//! ClusterShell's groups: `groups.conf` with its `groups.d`, YAML groups, and the old `group: nodes` lines.
//!
//! Commands (`map`, `all`, `list`) are not run: a source that has only these is left out with its line. Start reading at [`read`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nodeset::{GroupResolver, NodeSet};

use super::fleet::{ImportError, ImportedFleet, ImportedHost, MAX_HOSTS, OmissionList, SourcePlace};
use super::source_file::{self, SourceFile};
use super::words;
use super::yaml_tree::{self, TreeKind, TreeValue};

/// Maximum nesting of groups, which are evaluated until all that they use is known.
const MAX_ROUNDS: usize = 1000;

/// A group as it is written.
struct WrittenGroup {
    /// Its source, such as `racks`; empty for that of a file with `group: nodes` lines.
    source: String,
    name: String,
    /// A node set, or several.
    nodes: Vec<String>,
    place: SourcePlace,
}

#[derive(Default)]
struct GroupReader {
    groups: Vec<WrittenGroup>,
    default_source: Option<String>,
    omissions: OmissionList,
}

/// Reads a file, or all group files of a directory.
///
/// # Errors
/// A file that cannot be read, or in which no group has a node.
pub fn read(path: &Path) -> Result<ImportedFleet, ImportError> {
    let mut reader = GroupReader::default();
    if source_file::is_directory(path) {
        reader.directory(path, &["yaml", "yml", "cfg", "conf"])?;
    } else {
        reader.file(path)?;
    }
    reader.fleet(&path.into())
}

impl GroupReader {
    fn directory(&mut self, path: &Path, extensions: &[&str]) -> Result<(), ImportError> {
        for entry in source_file::entries(path)? {
            let extension = entry.extension().unwrap_or_default().to_string_lossy();
            if extensions.contains(&&*extension) && !source_file::is_directory(&entry) {
                self.file(&entry)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), ImportError> {
        let file = source_file::read(path)?;
        match path.extension().map(|extension| extension.to_string_lossy().into_owned()).as_deref() {
            Some("yaml" | "yml") => self.yaml(&file),
            Some("conf") => self.configuration(&file),
            _ if file.text.lines().any(|line| line.trim().eq_ignore_ascii_case("[main]")) => self.configuration(&file),
            _ => self.lines(&file, ""),
        }
    }

    /// `source: {group: nodes}`
    fn yaml(&mut self, file: &SourceFile) -> Result<(), ImportError> {
        let place = |line| SourcePlace::new(&file.path, line);
        let tree = yaml_tree::read(&file.text)
            .map_err(|(line, why)| ImportError::new(place(line), format!("this is not valid YAML: {why}")))?;
        for (source, key, groups) in tree.pairs() {
            if !groups.is_map() {
                return Err(ImportError::new(place(key.line), format!("{source} must be a mapping of groups")));
            }
            let TreeKind::Map(pairs) = &groups.kind else { continue };
            for (name, value) in pairs {
                let (Some(name_text), Some(nodes)) = (scalar(name), texts(value)) else {
                    return Err(ImportError::new(place(name.line), "expected `group: nodes`"));
                };
                self.groups.push(WrittenGroup {
                    source: source.to_owned(),
                    name: name_text,
                    nodes,
                    place: place(name.line),
                });
            }
        }
        Ok(())
    }

    /// `group: nodes`
    fn lines(&mut self, file: &SourceFile, source: &str) -> Result<(), ImportError> {
        for (index, line) in file.text.lines().enumerate() {
            let place = SourcePlace::new(&file.path, index + 1);
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let (name, nodes) =
                line.split_once(':').ok_or_else(|| ImportError::new(place.clone(), "expected `group: nodes`"))?;
            self.groups.push(WrittenGroup {
                source: source.to_owned(),
                name: name.trim().to_owned(),
                nodes: vec![nodes.trim().to_owned()],
                place,
            });
        }
        Ok(())
    }

    /// `groups.conf`: the directories of YAML files, the name of the default source, and the sources that are commands.
    fn configuration(&mut self, file: &SourceFile) -> Result<(), ImportError> {
        let folder = file.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let in_folder = |text: &str| text.replace("$CFGDIR", &folder.to_string_lossy());
        let mut section = String::new();
        for (index, line) in file.text.lines().enumerate() {
            let place = SourcePlace::new(&file.path, index + 1);
            let line = line.trim();
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                name.clone_into(&mut section);
                if name.eq_ignore_ascii_case("routes") {
                    self.omissions.note(&place, name, "routes are not groups; `jump` of a node names its jump host");
                }
                continue;
            }
            let Some((key, value)) = line.split_once([':', '=']).filter(|_| !line.starts_with(['#', ';'])) else {
                continue;
            };
            // As Python's configparser has them.
            let (key, value) = (key.trim().to_ascii_lowercase(), in_folder(value.trim()));
            match (section.eq_ignore_ascii_case("main"), key.as_str()) {
                (true, "default") => self.default_source = Some(value),
                (true, "autodir" | "confdir" | "groupsdir") => {
                    let extension = if key == "autodir" { "yaml" } else { "conf" };
                    let directories =
                        words::split(&value, false).map_err(|why| ImportError::new(place.clone(), why))?;
                    for directory in directories.iter().map(Path::new).filter(|path| source_file::is_directory(path)) {
                        self.directory(directory, &[extension])?;
                    }
                }
                (false, "map" | "mapall") => self.command(&section, &value, &place)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// A source whose groups come from a command, which is not run. The one that ClusterShell installs only takes the lines of
    /// a file apart, which is read instead.
    fn command(&mut self, source: &str, command: &str, place: &SourcePlace) -> Result<(), ImportError> {
        let Some(path) = file_of_sed(command) else {
            self.omissions.note(
                place,
                format!("source {source}"),
                "its groups come from a command, which is not run here",
            );
            return Ok(());
        };
        let path = PathBuf::from(path);
        if ctl_local::file::exists(&path) {
            // Several names of one source: the first stands for all of them.
            let source = source.split(',').next().unwrap_or_default().trim();
            return self.lines(&source_file::read(&path)?, source);
        }
        self.omissions.note(place, format!("source {source}"), format!("there is no file {}", path.display()));
        Ok(())
    }

    fn fleet(mut self, path: &Arc<Path>) -> Result<ImportedFleet, ImportError> {
        let sets = self.evaluate();
        let mut hosts = Vec::new();
        let mut known = NodeSet::default();
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut group_places = BTreeMap::new();
        let default_source = self.default_source.clone();
        // Groups of the default source keep their names where two sources have one.
        let mut order: Vec<usize> = (0..self.groups.len()).collect();
        order.sort_by_key(|index| {
            let source = self.groups.get(*index).map(|group| group.source.as_str());
            usize::from(source != default_source.as_deref() && source != Some(""))
        });
        for index in order {
            let (Some(group), Some(Some(set))) = (self.groups.get(index), sets.get(index)) else { continue };
            let more = set.difference(&known);
            if known.len().saturating_add(more.len()) > MAX_HOSTS as u64 {
                return Err(ImportError::new(group.place.clone(), format!("more than {MAX_HOSTS} nodes")));
            }
            hosts.extend(more.iter().map(|name| ImportedHost::new(name, group.place.clone())));
            known = known.union(&more);
            if group.name == "all" {
                continue;
            }
            let name = if groups.contains_key(&group.name) {
                let other = format!("{}.{}", group.source, group.name);
                let why = format!("another source has a group of this name; this one is named {other}");
                self.omissions.note(&group.place, group.name.clone(), why);
                other
            } else {
                group.name.clone()
            };
            group_places.insert(name.clone(), group.place.clone());
            groups.insert(name, set.iter().collect());
        }
        if hosts.is_empty() {
            let message = self.omissions.explain("no group has a node");
            return Err(ImportError::new(SourcePlace::new(path, 0), message));
        }
        Ok(ImportedFleet { hosts, groups, group_places, omissions: self.omissions.list })
    }

    /// The nodes of each group; none for one that cannot be evaluated.
    fn evaluate(&mut self) -> Vec<Option<NodeSet>> {
        let mut sets: Vec<Option<NodeSet>> = vec![None; self.groups.len()];
        for round in 0..MAX_ROUNDS {
            let mut has_progress = false;
            let mut errors = Vec::new();
            for (index, group) in self.groups.iter().enumerate() {
                if sets.get(index).is_none_or(Option::is_some) {
                    continue;
                }
                match self.nodes_of(group, &sets) {
                    Ok(set) => {
                        if let Some(slot) = sets.get_mut(index) {
                            *slot = Some(set);
                        }
                        has_progress = true;
                    }
                    Err(why) => errors.push((group.place.clone(), group.name.clone(), why)),
                }
            }
            if errors.is_empty() {
                break;
            }
            if !has_progress || round + 1 == MAX_ROUNDS {
                for (place, name, why) in errors {
                    let why = if has_progress { format!("more than {MAX_ROUNDS} levels of groups") } else { why };
                    self.omissions.warn(&place, format!("group {name}"), why);
                }
                break;
            }
        }
        sets
    }

    fn nodes_of(&self, group: &WrittenGroup, sets: &[Option<NodeSet>]) -> Result<NodeSet, String> {
        let known = KnownGroups::new(&self.groups, sets, &group.source);
        let mut all = NodeSet::default();
        for text in &group.nodes {
            let set = NodeSet::parse_with(text, &known).map_err(|error| error.message().to_owned())?;
            if set.len() > MAX_HOSTS as u64 {
                return Err(format!("it has more than {MAX_HOSTS} nodes"));
            }
            all = all.union(&set);
        }
        Ok(all)
    }
}

/// The file that a command takes the lines `group: nodes` of: `[ -f FILE ] && sed -n 's/^$GROUP:\(.*\)/\1/p' FILE`.
fn file_of_sed(command: &str) -> Option<String> {
    let words = words::split(command, false).ok()?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (test, sed) = words.split_at(words.iter().position(|word| *word == "sed")?);
    let ["sed", "-n", script, path] = sed else { return None };
    let is_plain = !path.contains(['$', '`', '~', '*', '?', '|', ';', '&', '<', '>']);
    let is_test = matches!(test, [] | ["[", "-f", _, "]", "&&"]);
    let is_script = matches!(*script, r"s/^$GROUP:\(.*\)/\1/p" | r"s/^$GROUP: *\(.*\)/\1/p");
    (is_plain && is_test && is_script).then(|| (*path).to_owned())
}

/// The groups that are known so far, for a group of one source.
struct KnownGroups<'g> {
    /// Those of every source, by source and name.
    groups: BTreeMap<(&'g str, &'g str), &'g NodeSet>,
    source: &'g str,
    /// The sources of which a group is not known yet.
    incomplete: BTreeSet<&'g str>,
    all: NodeSet,
}

impl<'g> KnownGroups<'g> {
    fn new(groups: &'g [WrittenGroup], sets: &'g [Option<NodeSet>], source: &'g str) -> Self {
        let pairs = || groups.iter().zip(sets);
        let known =
            pairs().filter_map(|(group, set)| Some(((group.source.as_str(), group.name.as_str()), set.as_ref()?)));
        let groups: BTreeMap<(&str, &str), &NodeSet> = known.collect();
        let incomplete = pairs().filter(|(_, set)| set.is_none()).map(|(group, _)| group.source.as_str()).collect();
        let all = groups.get(&(source, "all")).map(|all| (*all).clone()).unwrap_or_default();
        Self { groups, source, incomplete, all }
    }

    /// All nodes of a source: its group `all`, or else those of all of its groups.
    fn all_of(&self, source: &str) -> Option<NodeSet> {
        if let Some(all) = self.groups.get(&(source, "all")) {
            return Some((*all).clone());
        }
        let mut sets = self.groups.iter().filter(|((known, _), _)| *known == source).map(|(_, set)| *set).peekable();
        let is_known = !self.incomplete.contains(source) && sets.peek().is_some();
        is_known.then(|| sets.fold(NodeSet::default(), |all, set| all.union(set)))
    }
}

impl GroupResolver for KnownGroups<'_> {
    /// `name` of the same source, or `source:name`.
    fn group(&self, name: &str) -> Option<NodeSet> {
        match name.split_once(':') {
            Some((source, "*")) => self.all_of(source),
            Some((source, name)) => self.groups.get(&(source, name)).map(|set| (*set).clone()),
            None => self.groups.get(&(self.source, name)).map(|set| (*set).clone()),
        }
    }

    fn all(&self) -> &NodeSet {
        &self.all
    }

    fn group_names(&self) -> Vec<String> {
        let own = self.groups.keys().filter(|(source, _)| *source == self.source);
        own.map(|(_, name)| (*name).to_owned()).collect()
    }
}

fn scalar(value: &TreeValue) -> Option<String> {
    match &value.kind {
        TreeKind::Text(text) => Some(text.clone()),
        TreeKind::Int(number) => Some(number.to_string()),
        TreeKind::Null | TreeKind::Bool(_) | TreeKind::Float | TreeKind::List(_) | TreeKind::Map(_) => None,
    }
}

/// A text or a list of texts; nothing is an empty group.
fn texts(value: &TreeValue) -> Option<Vec<String>> {
    if let TreeKind::List(items) = &value.kind {
        return items.iter().map(scalar).collect();
    }
    if value.is_null() { Some(Vec::new()) } else { Some(vec![scalar(value)?]) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn shown(fleet: &ImportedFleet) -> Vec<String> {
        let mut lines = vec![fleet.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(",")];
        lines.extend(fleet.groups.iter().map(|(name, hosts)| format!("{name}={}", hosts.join(","))));
        lines.extend(fleet.omissions.iter().map(|omission| format!("{}: {}", omission.what, omission.why)));
        lines
    }

    /// Writes a file of a configuration, and gives its path.
    fn written(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(&path, text).expect("written");
        path
    }

    #[test]
    fn groups_of_every_format() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| written(dir.path(), name, text);
        let flat = write("local.cfg", "# nodes\nadm: n1\nio: n[2-3] # disks\nsome: @adm,@io!n3\nall: n[1-4]\n");
        assert_eq!(shown(&read(&flat).expect("groups")), ["n1,n2,n3,n4", "adm=n1", "io=n2,n3", "some=n1,n2"]);
        write(
            "groups.d/cluster.yaml",
            "racks:\n  r1: n[1-2]\n  both: '@r1,@r2'\n  r2: [n3, n4]\nroles:\n  compute: n[1-3]\n  r1: n4\n  bad: '@none'\n",
        );
        let conf = write(
            "groups.conf",
            "[Main]\ndefault: racks\nautodir: $CFGDIR/groups.d\n\n[slurm]\nmap: sinfo -h -o \"%N\" -p $GROUP\n",
        );
        assert_eq!(
            shown(&read(&conf).expect("groups")),
            [
                "n1,n2,n3,n4",
                "both=n1,n2,n3,n4",
                "compute=n1,n2,n3",
                "r1=n1,n2",
                "r2=n3,n4",
                "roles.r1=n4",
                "source slurm: its groups come from a command, which is not run here",
                "group bad: unknown group `@none`",
                "r1: another source has a group of this name; this one is named roles.r1",
            ]
        );
        let circle = write("circle.yaml", "s: {a: '@b', b: '@a'}");
        assert!(read(&circle).expect_err("no nodes").to_string().contains("no group has a node"));
        let broken = write("broken.yaml", "s: [a]");
        assert!(read(&broken).is_err());
        assert!(
            read(&dir.path().join("none")).expect_err("no file").to_string().ends_with("no such file or directory")
        );
    }

    #[test]
    fn groups_of_other_sources() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("g.yaml");
        let text = "racks:\n  r1: n[1-4]\n  r2: n[5-8]\nroles:\n  web: '@racks:r1!n3'\n  every: '@racks:*'\n  \
                    ref: '@web'\n  none: '@racks:r9'\n  nowhere: '@other:*'\nsites:\n  all: n[1-2]\n  far: '@roles:web&@sites:*'\n";
        fs::write(&path, text).expect("written");
        assert_eq!(
            shown(&read(&path).expect("groups"))[1..],
            [
                "every=n1,n2,n3,n4,n5,n6,n7,n8",
                "far=n1,n2",
                "r1=n1,n2,n3,n4",
                "r2=n5,n6,n7,n8",
                "ref=n1,n2,n4",
                "web=n1,n2,n4",
                "group none: unknown group `@racks:r9`",
                "group nowhere: unknown group `@other:*`",
            ]
        );
        let deep: String = (0..300).map(|number| format!("  g{number}: '@g{},n{number}'\n", number + 1)).collect();
        fs::write(&path, format!("s:\n{deep}  g300: n300\n")).expect("written");
        let fleet = read(&path).expect("groups");
        assert_eq!((fleet.hosts.len(), fleet.omissions.len()), (301, 0));
    }

    /// The configuration that ClusterShell installs.
    #[test]
    fn a_command_that_takes_a_file_apart_is_read_without_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| written(dir.path(), name, text);
        let conf = write(
            "groups.conf",
            "[Main]\nDefault: local\nconfdir: /none \"$CFGDIR/groups.conf.d\"\nautodir: $CFGDIR/groups.d\n\n[local]\n\
             map: sed -n 's/^$GROUP:\\(.*\\)/\\1/p' $CFGDIR/groups.d/local.cfg\n\
             all: sed -n 's/^all:\\(.*\\)/\\1/p' $CFGDIR/groups.d/local.cfg\n\
             [old]\nmap: [ -f $CFGDIR/groups ] && sed -n 's/^$GROUP:\\(.*\\)/\\1/p' $CFGDIR/groups\n\
             [gone]\nmap: sed -n 's/^$GROUP:\\(.*\\)/\\1/p' $CFGDIR/none\n\
             [run]\nmap: sed -n 's/^$GROUP:\\(.*\\)/\\1/p' $(touch /tmp/x)\n",
        );
        write("groups.d/local.cfg", "adm: n1\noss: n4 n5\nall: n[1-5]\n");
        write("groups", "adm: n1\nold: @local:oss\n");
        write("groups.conf.d/slurm.conf", "[slurm,sinfo]\nmap: sinfo -h\n");
        write("groups.conf.d/slurm.conf.example", "[other]\nmap: other\n");
        let mut lines = shown(&read(&conf).expect("groups"));
        lines.iter_mut().for_each(|line| *line = line.replace(&*dir.path().to_string_lossy(), "DIR"));
        assert_eq!(
            lines,
            [
                "n1,n4,n5,n2,n3",
                "adm=n1",
                "old=n4,n5",
                "old.adm=n1",
                "oss=n4,n5",
                "source slurm,sinfo: its groups come from a command, which is not run here",
                "source gone: there is no file DIR/none",
                "source run: its groups come from a command, which is not run here",
                "adm: another source has a group of this name; this one is named old.adm",
            ]
        );
        let empty = write("c.conf", "[Main]\n[slurm]\nmap: sinfo\n");
        let message = read(&empty).expect_err("no groups").message;
        assert!(message.contains("left out") && message.contains("c.conf:3: source slurm"), "{message}");
        let routes = write("topology.conf", "[routes]\nrio0: rio[10-13]\n");
        assert!(read(&routes).expect_err("no groups").message.contains("routes are not groups"));
    }
}
