//! ClusterShell's groups: `groups.conf` with its `groups.d`, YAML groups, and the old `group: nodes` lines.
//!
//! Commands (`map`, `all`, `list`) are not run: a source that has only these is left out with its line. Start reading at [`read`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nodeset::{GroupResolver, NodeSet};

use super::fleet::{ImportError, ImportedFleet, ImportedHost, MAX_HOSTS, OmissionList, SourcePlace};
use super::source_file::{self, SourceFile};
use super::yaml_tree::{self, TreeKind, TreeValue};

/// How often groups are evaluated until all that they use is known.
const MAX_ROUNDS: usize = 100;

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
            _ => self.lines(&file),
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
    fn lines(&mut self, file: &SourceFile) -> Result<(), ImportError> {
        for (index, line) in file.text.lines().enumerate() {
            let place = SourcePlace::new(&file.path, index + 1);
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let (name, nodes) =
                line.split_once(':').ok_or_else(|| ImportError::new(place.clone(), "expected `group: nodes`"))?;
            self.groups.push(WrittenGroup {
                source: String::new(),
                name: name.trim().to_owned(),
                nodes: vec![nodes.trim().to_owned()],
                place,
            });
        }
        Ok(())
    }

    /// `groups.conf`: the directories of YAML files, and the name of the default source.
    fn configuration(&mut self, file: &SourceFile) -> Result<(), ImportError> {
        let folder = file.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut section = String::new();
        for (index, line) in file.text.lines().enumerate() {
            let place = SourcePlace::new(&file.path, index + 1);
            let line = line.trim();
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                name.clone_into(&mut section);
                continue;
            }
            let Some((key, value)) = line.split_once([':', '=']).filter(|_| !line.starts_with(['#', ';'])) else {
                continue;
            };
            let (key, value) = (key.trim(), value.trim());
            if !section.eq_ignore_ascii_case("main") {
                if key == "map" {
                    let why = "its groups come from a command, which is not run here";
                    self.omissions.note(&place, format!("source {section}"), why);
                }
                continue;
            }
            match key {
                "default" => self.default_source = Some(value.to_owned()),
                "autodir" => {
                    for directory in value.split_whitespace() {
                        let directory = PathBuf::from(directory.replace("$CFGDIR", &folder.to_string_lossy()));
                        if source_file::is_directory(&directory) {
                            self.directory(&directory, &["yaml"])?;
                        }
                    }
                }
                "confdir" | "groupsdir" => {
                    for directory in value.split_whitespace() {
                        let directory = directory.replace("$CFGDIR", &folder.to_string_lossy());
                        if source_file::is_directory(Path::new(&directory)) {
                            self.omissions.note(
                                &place,
                                key,
                                format!("the sources in {directory} are commands, which are not run here"),
                            );
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn fleet(mut self, path: &Arc<Path>) -> Result<ImportedFleet, ImportError> {
        let sets = self.evaluate();
        let mut hosts = Vec::new();
        let mut known = NodeSet::default();
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
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
            groups.insert(name, set.iter().collect());
        }
        if hosts.is_empty() {
            return Err(ImportError::new(SourcePlace::new(path, 0), "no group has a node"));
        }
        Ok(ImportedFleet { hosts, groups, omissions: self.omissions.list })
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

/// The groups of a source that are known so far.
struct KnownGroups<'g> {
    groups: BTreeMap<&'g str, &'g NodeSet>,
    all: NodeSet,
}

impl<'g> KnownGroups<'g> {
    fn new(groups: &'g [WrittenGroup], sets: &'g [Option<NodeSet>], source: &str) -> Self {
        let known = groups.iter().zip(sets).filter(|(group, _)| group.source == source);
        let groups: BTreeMap<&str, &NodeSet> =
            known.filter_map(|(group, set)| Some((group.name.as_str(), set.as_ref()?))).collect();
        let all = groups.get("all").map(|all| (*all).clone()).unwrap_or_default();
        Self { groups, all }
    }
}

impl GroupResolver for KnownGroups<'_> {
    fn group(&self, name: &str) -> Option<NodeSet> {
        self.groups.get(name).map(|set| (*set).clone())
    }

    fn all(&self) -> &NodeSet {
        &self.all
    }

    fn group_names(&self) -> Vec<String> {
        self.groups.keys().map(|name| (*name).to_owned()).collect()
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

    #[test]
    fn groups_of_every_format() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(&path, text).expect("written");
            path
        };
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
}
