//! fabric's `testbed.py` for Contrail, read without executing it.
//!
//! Such a file assigns literals: `host1 = 'root@10.0.0.1'`, `env.roledefs = {'cfgm': [host1]}`. Assignments of literals, of lists with
//! names assigned before, and of their sums are read; every other statement is left out with its line. Start reading at
//! [`read`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::fleet::{ImportError, ImportedFleet, ImportedHost, MAX_HOSTS, OmissionList, SourcePlace};
use super::key_path::key_path;
use super::python::{Token, TokenKind, Tokens};
use super::source_file;

/// Maximum nesting of values.
const MAX_DEPTH: usize = 32;
/// The names that are read.
const READ: [&str; 7] =
    ["env.gateway", "env.hostnames", "env.hosts", "env.key_filename", "env.port", "env.roledefs", "env.user"];
/// The words that begin a block.
const BLOCKS: [&str; 10] = ["if", "elif", "else", "for", "while", "def", "class", "with", "try", "except"];
/// Maximum number of values, those repeated by names included.
const MAX_VALUES: usize = 1_000_000;

/// A value of Python.
#[derive(Debug, Clone, PartialEq, Eq)]
enum PythonValue {
    Text(String),
    Int(i64),
    List(Vec<PythonValue>),
    Dict(Vec<(PythonValue, PythonValue)>),
    /// True, False, None, or a fraction.
    Other,
}

/// Reads a `testbed.py`.
///
/// # Errors
/// A file that cannot be read, or has neither `env.roledefs` nor `env.hosts`.
pub fn read(path: &Path) -> Result<ImportedFleet, ImportError> {
    let file = source_file::read(path)?;
    parse(&file.text, &file.path)
}

fn parse(text: &str, path: &Arc<Path>) -> Result<ImportedFleet, ImportError> {
    let mut names = PythonNames { path: Arc::clone(path), ..PythonNames::default() };
    let mut tokens = Tokens::new(text);
    let mut statement = Vec::new();
    loop {
        let token = tokens
            .next_token()
            .map_err(|line| ImportError::new(SourcePlace::new(path, line), "a string that is not closed"))?;
        match token {
            Some(Token { kind: TokenKind::Newline | TokenKind::Sign(";"), .. }) => {
                names.statement(&statement);
                statement.clear();
            }
            Some(token) => statement.push(token),
            None => break,
        }
    }
    names.statement(&statement);
    names.fleet()
}

/// The names that the file assigns; `env.x` is a name too.
struct PythonNames {
    path: Arc<Path>,
    values: HashMap<String, PythonValue>,
    places: BTreeMap<String, SourcePlace>,
    /// The lines of the assignments that cannot be read.
    unread: HashMap<String, usize>,
    /// Names that another value uses.
    used: BTreeSet<String>,
    size: usize,
    omissions: OmissionList,
}

impl Default for PythonNames {
    fn default() -> Self {
        Self {
            path: Path::new("").into(),
            values: HashMap::new(),
            unread: HashMap::new(),
            places: BTreeMap::new(),
            used: BTreeSet::new(),
            size: 0,
            omissions: OmissionList::default(),
        }
    }
}

impl PythonNames {
    fn statement(&mut self, tokens: &[Token]) {
        let Some(first) = tokens.first() else { return };
        let place = SourcePlace::new(&self.path, first.line);
        let is_import = matches!(&first.kind, TokenKind::Name(name) if name == "from" || name == "import");
        // A text alone documents the file. The lines of a block are left out with the line above them.
        if is_import || first.indent > 0 || tokens.iter().all(|token| matches!(token.kind, TokenKind::Text(_))) {
            return;
        }
        if self.assignment(tokens, &place).is_some() {
            return;
        }
        let mut reader = ValueTokens { tokens, names: self, depth: 0 };
        let name = reader.name();
        if reader.take("=")
            && let Some(name) = &name
        {
            // An earlier value no longer counts.
            self.values.remove(name);
            self.unread.insert(name.clone(), first.line);
        }
        let what = if BLOCKS.iter().any(|word| name.as_deref() == Some(word)) {
            "this block would have to be executed; only literals are read"
        } else {
            "this line would have to be executed; only literals are read"
        };
        self.omissions.warn(&place, name.as_deref().unwrap_or("this"), what);
    }

    /// `name = value`, `env.name = value`, `name['key'] = value`; none for anything else.
    fn assignment(&mut self, tokens: &[Token], place: &SourcePlace) -> Option<()> {
        let mut reader = ValueTokens { tokens, names: self, depth: 0 };
        let target = reader.name()?;
        let mut keys = Vec::new();
        while reader.take("[") {
            keys.push(reader.value()?);
            reader.take("]").then_some(())?;
        }
        reader.take("=").then_some(())?;
        let value = reader.value()?;
        reader.tokens.is_empty().then_some(())?;
        self.places.entry(target.clone()).or_insert_with(|| place.clone());
        self.unread.remove(&target);
        if keys.is_empty() {
            self.values.insert(target, value);
            return Some(());
        }
        let mut slot = self.values.get_mut(&target)?;
        for key in keys {
            let PythonValue::Dict(pairs) = slot else { return None };
            let at = pairs.iter().position(|(known, _)| *known == key).unwrap_or(pairs.len());
            if at == pairs.len() {
                pairs.push((key, PythonValue::Other));
            }
            slot = &mut pairs.get_mut(at)?.1;
        }
        *slot = value;
        Some(())
    }

    fn fleet(mut self) -> Result<ImportedFleet, ImportError> {
        let roles = self.roles();
        let mut order: Vec<String> = self.texts("env.roledefs", Some("all"));
        if order.is_empty() {
            let others = roles.iter().filter(|(role, _)| *role != "build").flat_map(|(_, hosts)| hosts.clone());
            order = others.collect();
        }
        let hosts = self.texts("env.hosts", None);
        if order.is_empty() {
            order.clone_from(&hosts);
        }
        // Of these. A host that is named twice has two places in the list of names, and fabric uses the first.
        let names = self.host_names(&order);
        order.extend(hosts);
        if order.is_empty() || order.len() > MAX_HOSTS {
            let message = if order.is_empty() {
                self.omissions.explain("neither `env.roledefs` nor `env.hosts` names a host")
            } else {
                format!("more than {MAX_HOSTS} hosts")
            };
            return Err(ImportError::new(SourcePlace::new(&self.path, 0), message));
        }
        let mut known = BTreeSet::new();
        order.retain(|host| known.insert(host.clone()));
        let place = self.place_of(if roles.is_empty() { "env.hosts" } else { "env.roledefs" });
        let defaults = self.defaults(&place);
        let hosts = order.iter().map(|host| {
            let mut read = host_of(host, &place);
            let address = std::mem::take(&mut read.name);
            read.name = names.get(host).cloned().unwrap_or_else(|| address.clone());
            read.address = (address != read.name).then_some(address);
            read.user = read.user.or_else(|| defaults.user.clone());
            read.port = read.port.or(defaults.port);
            ImportedHost { identity: defaults.identity.clone(), jump: defaults.jump.clone(), ..read }
        });
        let hosts: Vec<ImportedHost> = hosts.collect();
        let name_of: HashMap<&String, &String> = order.iter().zip(hosts.iter().map(|host| &host.name)).collect();
        let mut groups = BTreeMap::new();
        for (role, members) in roles.iter().filter(|(role, _)| *role != "all") {
            let (there, missing): (Vec<_>, Vec<_>) = members.iter().partition(|host| name_of.contains_key(host));
            for host in missing {
                let why = if role == "build" { "it only runs fabric" } else { "it is not in the role `all`" };
                self.omissions.note(&place, host, why);
            }
            if !there.is_empty() {
                groups.insert(role.clone(), there.into_iter().map(|host| name_of[host].clone()).collect());
            }
        }
        self.unread();
        let group_places = groups.keys().map(|name: &String| (name.clone(), place.clone())).collect();
        Ok(ImportedFleet { hosts, groups, group_places, omissions: self.omissions.list })
    }

    /// Where a name is assigned first; the file as a whole if it is not.
    fn place_of(&self, name: &str) -> SourcePlace {
        self.places.get(name).cloned().unwrap_or_else(|| SourcePlace::new(&self.path, 0))
    }

    /// What `env` says of the connections of all hosts.
    fn defaults(&mut self, place: &SourcePlace) -> ImportedHost {
        let mut defaults = ImportedHost::new(String::new(), place.clone());
        defaults.user = self.texts("env.user", None).into_iter().next();
        defaults.jump = self.texts("env.gateway", None).into_iter().next();
        let port = self.values.get("env.port").map(|port| match port {
            PythonValue::Text(text) => text.parse().ok(),
            PythonValue::Int(number) => u16::try_from(*number).ok(),
            PythonValue::List(_) | PythonValue::Dict(_) | PythonValue::Other => None,
        });
        match port.map(|port| port.filter(|port| *port > 0)) {
            Some(None) => {
                let port_place = self.place_of("env.port");
                self.omissions.warn(&port_place, "env.port", "it is not a port from 1 to 65535");
            }
            port => defaults.port = port.flatten(),
        }
        let mut keys = self.texts("env.key_filename", None).into_iter();
        let key_place = self.place_of("env.key_filename");
        if let Some(key) = keys.next() {
            // Contrail's own example names the public key, and an SSH client needs the other one.
            let private = key.strip_suffix(".pub").unwrap_or(&key);
            match key_path(private, "fabric") {
                Ok(()) => {
                    if private != key {
                        let why = format!("a public key cannot log in; the private one is {private}");
                        self.omissions.note(&key_place, key.clone(), why);
                    }
                    defaults.identity = Some(private.to_owned());
                }
                Err(why) => self.omissions.warn(&key_place, "env.key_filename", why),
            }
        }
        for key in keys {
            self.omissions.warn(&key_place, key, "only the first key is carried over");
        }
        defaults
    }

    /// The roles with their hosts.
    fn roles(&mut self) -> BTreeMap<String, Vec<String>> {
        let Some(PythonValue::Dict(pairs)) = self.values.get("env.roledefs") else { return BTreeMap::new() };
        let mut roles = BTreeMap::new();
        for (role, hosts) in pairs {
            if let PythonValue::Text(role) = role {
                roles.insert(role.clone(), texts_of(hosts));
            }
        }
        roles
    }

    /// The texts of a name, or of one key of its dictionary.
    fn texts(&self, name: &str, key: Option<&str>) -> Vec<String> {
        let Some(value) = self.values.get(name) else { return Vec::new() };
        let Some(key) = key else { return texts_of(value) };
        let PythonValue::Dict(pairs) = value else { return Vec::new() };
        let found = pairs.iter().find(|(known, _)| matches!(known, PythonValue::Text(text) if text == key));
        found.map(|(_, value)| texts_of(value)).unwrap_or_default()
    }

    /// `env.hostnames`: a name for each host, or before Release 3.0 the names of all hosts in their order.
    fn host_names(&mut self, order: &[String]) -> HashMap<String, String> {
        let list = self.texts("env.hostnames", Some("all"));
        let pairs: Vec<(String, String)> = match self.values.get("env.hostnames") {
            Some(PythonValue::Dict(_)) if !list.is_empty() => order.iter().cloned().zip(list.iter().cloned()).collect(),
            Some(PythonValue::Dict(pairs)) => pairs
                .iter()
                .filter_map(|pair| match pair {
                    (PythonValue::Text(host), PythonValue::Text(name)) => Some((host.clone(), name.clone())),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        };
        let place = self.place_of("env.hostnames");
        if !list.is_empty() && list.len() != order.len() {
            // As fabric does, which looks up the name at the place of the host.
            let why = format!("it has {} names for {} hosts; they are used in their order", list.len(), order.len());
            self.omissions.note(&place, "env.hostnames", why);
        }
        let mut names = HashMap::new();
        let mut taken = BTreeSet::new();
        for (host, name) in pairs {
            if names.contains_key(&host) {
                continue;
            }
            if taken.insert(name.clone()) {
                names.insert(host, name);
            } else {
                self.omissions.note(&place, name, "two hosts have this name; the second keeps its address as its name");
            }
        }
        names
    }

    /// Leaves out the other names.
    fn unread(&mut self) {
        for (name, place) in &self.places {
            if READ.contains(&name.as_str()) || self.used.contains(name) {
                continue;
            }
            let why = if name.to_lowercase().contains("passw") {
                "secrets are not carried over; use an SSH key, --ask-pass or -K"
            } else {
                "ctl has no such setting"
            };
            self.omissions.note(place, name, why);
        }
    }
}

/// A text, or the texts of a list.
fn texts_of(value: &PythonValue) -> Vec<String> {
    match value {
        PythonValue::Text(text) => vec![text.clone()],
        PythonValue::List(items) => items.iter().flat_map(texts_of).collect(),
        PythonValue::Int(_) | PythonValue::Dict(_) | PythonValue::Other => Vec::new(),
    }
}

/// `[user@]host[:port]`, with the host as its name.
fn host_of(text: &str, place: &SourcePlace) -> ImportedHost {
    let (user, rest) = text.rsplit_once('@').map_or((None, text), |(user, rest)| (Some(user.to_owned()), rest));
    let split = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        // More than one colon is an IPv6 address.
        None => match rest.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (rest, None),
        },
    };
    let port = split.1.and_then(|port| port.parse().ok()).filter(|port| *port > 0);
    // A port that is none stays part of the name, which is then rejected.
    let name = if split.1.is_some() && port.is_none() { rest } else { split.0 };
    ImportedHost { user, port, ..ImportedHost::new(name.to_owned(), place.clone()) }
}

/// The tokens of a statement, from a value on.
struct ValueTokens<'t, 'n> {
    tokens: &'t [Token],
    names: &'n mut PythonNames,
    depth: usize,
}

impl ValueTokens<'_, '_> {
    fn take(&mut self, sign: &str) -> bool {
        let found = self
            .tokens
            .split_first()
            .filter(|(token, _)| matches!(token.kind, TokenKind::Sign(known) if known == sign));
        if let Some((_, rest)) = found {
            self.tokens = rest;
        }
        found.is_some()
    }

    fn next(&mut self) -> Option<TokenKind> {
        let (token, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(token.kind.clone())
    }

    /// `name` or `env.name`.
    fn name(&mut self) -> Option<String> {
        let TokenKind::Name(mut name) = self.next()? else { return None };
        while self.take(".") {
            let TokenKind::Name(part) = self.next()? else { return None };
            name = format!("{name}.{part}");
        }
        Some(name)
    }

    /// Values, added up.
    fn value(&mut self) -> Option<PythonValue> {
        if self.depth >= MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        let mut sum = self.single()?;
        while self.take("+") {
            sum = match (sum, self.single()?) {
                (PythonValue::Text(a), PythonValue::Text(b)) => PythonValue::Text(a + &b),
                (PythonValue::List(mut a), PythonValue::List(b)) => {
                    a.extend(b);
                    PythonValue::List(a)
                }
                _ => return None,
            };
        }
        self.depth -= 1;
        Some(sum)
    }

    fn single(&mut self) -> Option<PythonValue> {
        self.names.size += 1;
        if self.names.size > MAX_VALUES {
            return None;
        }
        match &self.tokens.first()?.kind {
            TokenKind::Name(name) if matches!(name.as_str(), "True" | "False" | "None") => {
                self.next();
                Some(PythonValue::Other)
            }
            TokenKind::Name(_) => self.named(),
            TokenKind::Text(_) => {
                let mut text = String::new();
                while let Some(TokenKind::Text(part)) = self.tokens.first().map(|token| &token.kind) {
                    text.push_str(part);
                    self.next();
                }
                Some(PythonValue::Text(text))
            }
            TokenKind::Int(number) => {
                let number = *number;
                self.next();
                Some(PythonValue::Int(number))
            }
            TokenKind::Float => self.next().map(|_| PythonValue::Other),
            TokenKind::Sign("[") => self.list("[", "]"),
            // Without a comma, parentheses only hold a value together.
            TokenKind::Sign("(") => {
                let has_comma = self.tokens.iter().any(|token| token.kind == TokenKind::Sign(","));
                let PythonValue::List(mut items) = self.list("(", ")")? else { return None };
                if items.len() == 1 && !has_comma { items.pop() } else { Some(PythonValue::List(items)) }
            }
            TokenKind::Sign("{") => self.dict(),
            TokenKind::Sign(_) | TokenKind::Newline => None,
        }
    }

    /// The value of a name that was assigned before, possibly with a key behind it.
    fn named(&mut self) -> Option<PythonValue> {
        let line = self.tokens.first()?.line;
        let name = self.name()?;
        let Some(mut value) = self.names.values.get(&name).cloned() else {
            // The other values of the same list are still good.
            let why =
                format!("its value is not known: line {} would have to be executed", self.names.unread.get(&name)?);
            self.names.omissions.warn(&SourcePlace::new(&self.names.path, line), name, why);
            return Some(PythonValue::Other);
        };
        self.names.used.insert(name);
        while self.take("[") {
            let key = self.value()?;
            self.take("]").then_some(())?;
            value = match (value, key) {
                (PythonValue::Dict(pairs), key) => pairs.into_iter().find(|(known, _)| *known == key)?.1,
                (PythonValue::List(items), PythonValue::Int(at)) => items.into_iter().nth(usize::try_from(at).ok()?)?,
                _ => return None,
            };
        }
        // Names that double each other's values would grow without bounds.
        self.names.size += size(&value);
        (self.names.size <= MAX_VALUES).then_some(value)
    }

    fn list(&mut self, open: &str, close: &str) -> Option<PythonValue> {
        self.take(open).then_some(())?;
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(self.value()?);
            if !self.take(",") {
                self.take(close).then_some(())?;
                break;
            }
        }
        Some(PythonValue::List(items))
    }

    fn dict(&mut self) -> Option<PythonValue> {
        self.take("{").then_some(())?;
        let mut pairs = Vec::new();
        while !self.take("}") {
            let key = self.value()?;
            self.take(":").then_some(())?;
            let value = self.value()?;
            // A key that is repeated has its last value.
            pairs.retain(|(known, _)| *known != key);
            pairs.push((key, value));
            if !self.take(",") {
                self.take("}").then_some(())?;
                break;
            }
        }
        Some(PythonValue::Dict(pairs))
    }
}

fn size(value: &PythonValue) -> usize {
    match value {
        PythonValue::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        PythonValue::Dict(pairs) => 1 + pairs.iter().map(|(key, value)| size(key) + size(value)).sum::<usize>(),
        PythonValue::Text(_) | PythonValue::Int(_) | PythonValue::Other => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> ImportedFleet {
        parse(text, &Path::new("testbed.py").into()).expect("a testbed")
    }

    const TESTBED: &str = r#"from fabric.api import env

# the machines
host1 = 'root@10.0.0.1'
host2 = u'root@10.0.0.2:2222'
host3 = "ops@" \
    "10.0.0.3"
host_build = 'root@10.0.0.9'
ext_routers = [('mx1', '10.0.0.250')]
router_asn = 64512

env.roledefs = {
    'all': [host1, host2, host3],
    'cfgm': [host1],   # config
    'collector': [host1, host2,],
    'openstack': [host2] + [host3],
    'build': [host_build],
}
env.roledefs['compute'] = env.roledefs['openstack']
env.hostnames = {host1: 'a6s01', host2: 'a6s02'}
env.openstack_admin_password = 'secret-1'
env.passwords = {host1: 'secret-2', host_build: 'secret-3'}
env.key_filename = '/root/.ssh/id_rsa'
if router_asn:
    env.roledefs['webui'] = [host1]
env.ostypes = dict(a='ubuntu')
"#;

    /// What has to be executed is named with its line; the hosts beside it are read.
    #[test]
    fn lines_that_have_to_be_executed_are_named() {
        let fleet = read_text(
            "host1 = 'root@10.0.0.1'\nhost2 = 'root@10.0.0.%s' % 2\nhost3 = 'a@c'\nhost3 = host3.upper()\n\
             env.roledefs = {\n  'all': [host1,\n    host2, host3],\n  'cfgm': [host1, host2],\n}\n\
             if host1:\n    env.roledefs['cfgm'] = [host3]\nenv.roledefs['cfgm'].append(host1)\n\
             env.hostnames = {host2: 'b', host1: 'a'}\n",
        );
        let hosts: Vec<&str> = fleet.hosts.iter().map(|host| host.name.as_str()).collect();
        assert_eq!((hosts, &fleet.groups["cfgm"]), (vec!["a"], &vec!["a".to_owned()]));
        let omissions: Vec<String> = fleet.omissions.iter().map(ToString::to_string).collect();
        let (line, block) = ("this line would have to be executed", "this block would have to be executed");
        let unknown = |line| format!("its value is not known: line {line} would have to be executed");
        for expected in [
            format!("testbed.py:2: host2: {line}; only literals are read"),
            format!("testbed.py:4: host3: {line}; only literals are read"),
            format!("testbed.py:7: host2: {}", unknown(2)),
            format!("testbed.py:7: host3: {}", unknown(4)),
            format!("testbed.py:8: host2: {}", unknown(2)),
            format!("testbed.py:10: if: {block}; only literals are read"),
            format!("testbed.py:12: env.roledefs: {line}; only literals are read"),
        ] {
            assert!(omissions.contains(&expected), "{expected}\n{omissions:#?}");
        }
    }

    #[test]
    fn a_testbed_is_read_without_python() {
        let fleet = read_text(TESTBED);
        let hosts: Vec<_> = fleet
            .hosts
            .iter()
            .map(|host| (host.name.as_str(), host.address.as_deref(), host.port, host.user.as_deref()))
            .collect();
        assert_eq!(
            hosts,
            [
                ("a6s01", Some("10.0.0.1"), None, Some("root")),
                ("a6s02", Some("10.0.0.2"), Some(2222), Some("root")),
                ("10.0.0.3", None, None, Some("ops")),
            ]
        );
        assert!(fleet.hosts.iter().all(|host| host.identity.as_deref() == Some("/root/.ssh/id_rsa")));
        let groups: Vec<String> =
            fleet.groups.iter().map(|(name, hosts)| format!("{name}={}", hosts.join(","))).collect();
        assert_eq!(
            groups,
            ["cfgm=a6s01", "collector=a6s01,a6s02", "compute=a6s02,10.0.0.3", "openstack=a6s02,10.0.0.3"]
        );
        let omissions: Vec<String> = fleet.omissions.iter().map(ToString::to_string).collect();
        assert_eq!(
            omissions,
            [
                "testbed.py:24: if: this block would have to be executed; only literals are read",
                "testbed.py:26: env.ostypes: this line would have to be executed; only literals are read",
                "testbed.py:12: root@10.0.0.9: it only runs fabric",
                "testbed.py:21: env.openstack_admin_password: secrets are not carried over; use an SSH key, --ask-pass or -K",
                "testbed.py:22: env.passwords: secrets are not carried over; use an SSH key, --ask-pass or -K",
                "testbed.py:9: ext_routers: ctl has no such setting",
                "testbed.py:10: router_asn: ctl has no such setting",
            ]
        );
        assert!(!format!("{fleet:?}").contains("secret-"));
    }

    /// Contrail's own example has more names than hosts, and names the public key.
    #[test]
    fn names_are_used_in_the_order_of_all_as_fabric_does() {
        let shown = |text: &str| -> Vec<String> {
            let fleet = read_text(text);
            let hosts =
                fleet.hosts.iter().map(|host| format!("{}={}", host.name, host.address.as_deref().unwrap_or("-")));
            hosts.chain(fleet.omissions.iter().map(ToString::to_string)).collect()
        };
        let roles = |all: &str| format!("env.roledefs = {{'all': {all}}}\n");
        assert_eq!(
            shown(&format!("{}env.hostnames = {{'all': ['n1', 'n2', 'backup']}}\n", roles("['10.0.0.1', '10.0.0.2']"))),
            [
                "n1=10.0.0.1",
                "n2=10.0.0.2",
                "testbed.py:2: env.hostnames: it has 3 names for 2 hosts; they are used in their order"
            ]
        );
        assert_eq!(
            shown(&format!("{}env.hostnames = {{'all': ['n1']}}\n", roles("['10.0.0.1', '10.0.0.2']"))),
            [
                "n1=10.0.0.1",
                "10.0.0.2=-",
                "testbed.py:2: env.hostnames: it has 1 names for 2 hosts; they are used in their order"
            ]
        );
        let twice = roles("['10.0.0.1', '10.0.0.1', '10.0.0.2']");
        assert_eq!(
            shown(&format!("{twice}env.hostnames = {{'all': ['n1', 'n2', 'n3']}}\n")),
            ["n1=10.0.0.1", "n3=10.0.0.2"]
        );
        let builder = format!("env.hosts = ['10.0.0.1', '10.0.0.9']\n{}", roles("['10.0.0.1']"));
        assert_eq!(shown(&format!("{builder}env.hostnames = {{'all': ['n1']}}\n")), ["n1=10.0.0.1", "10.0.0.9=-"]);
    }

    #[test]
    fn settings_of_every_connection() {
        let fleet = read_text(
            "env.hosts = ['10.0.0.1', 'ops@10.0.0.2:22']\nenv.user = 'root'\nenv.port = '2222'\nenv.gateway = 'ops@gw'\n\
             env.key_filename = ['/root/.ssh/id_rsa.pub', '~/.ssh/other']\n",
        );
        let hosts: Vec<_> = (fleet.hosts.iter())
            .map(|host| (host.user.as_deref(), host.port, host.jump.as_deref(), host.identity.as_deref()))
            .collect();
        let key = Some("/root/.ssh/id_rsa");
        assert_eq!(
            hosts,
            [(Some("root"), Some(2222), Some("ops@gw"), key), (Some("ops"), Some(22), Some("ops@gw"), key)]
        );
        let omissions: Vec<String> = fleet.omissions.iter().map(ToString::to_string).collect();
        assert_eq!(
            omissions,
            [
                "testbed.py:5: /root/.ssh/id_rsa.pub: a public key cannot log in; the private one is /root/.ssh/id_rsa",
                "testbed.py:5: ~/.ssh/other: only the first key is carried over",
            ]
        );
        let fleet = read_text("env.hosts = ['h']\nenv.port = 'ssh'\nenv.key_filename = './id_rsa'\n");
        assert_eq!((fleet.hosts[0].port, fleet.hosts[0].identity.as_deref()), (None, None));
        assert!(fleet.omissions.iter().all(|omission| omission.changes_connection), "{:?}", fleet.omissions);
        assert_eq!(fleet.omissions.len(), 2);
    }

    #[test]
    fn names_of_old_releases_are_in_the_order_of_all() {
        let fleet = read_text(
            "env.roledefs = {'all': ['root@10.0.0.1', 'root@10.0.0.2']}\nenv.hostnames = {'all': ['n1', 'n2']}\n",
        );
        assert_eq!(fleet.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["n1", "n2"]);
    }

    #[test]
    fn a_file_without_hosts_and_one_that_grows_are_errors() {
        for text in ["", "x = 1", "env.roledefs = {'all': []}"] {
            assert!(parse(text, &Path::new("t.py").into()).is_err(), "{text}");
        }
        let path: Arc<Path> = Path::new("t.py").into();
        let error = parse("if x:\n    env.roledefs = {'all': ['a']}\nhost1 = f()\n", &path).expect_err("no literal");
        assert_eq!(
            error.to_string(),
            "t.py: neither `env.roledefs` nor `env.hosts` names a host; left out: \
             t.py:1: if: this block would have to be executed; only literals are read; \
             t.py:3: host1: this line would have to be executed; only literals are read"
        );
        let mut text = "a0 = ['x', 'x']\n".to_owned();
        for number in 1..64 {
            text.push_str(&format!("a{number} = a{} + a{}\n", number - 1, number - 1));
        }
        text.push_str("env.hosts = a63\n");
        assert!(parse(&text, &Path::new("t.py").into()).is_err());
        let deep = format!("env.hosts = {}'x'{}", "[".repeat(5000), "]".repeat(5000));
        assert!(parse(&deep, &Path::new("t.py").into()).is_err());
    }
}
