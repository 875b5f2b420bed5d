use std::future::ready;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

use super::*;
use ctl_transport::{CONNECT_FAILED, ExecOutput, OutputPiece, RemoteCommand};

/// A page as Release 3.2 writes it: `entries` in its frame, with the element that follows them.
fn page(entries: &str) -> String {
    format!(
        "<?xml-stylesheet type=\"text/xsl\" href=\"/universal_parse.xsl\"?>\n<__NodeStatusUVE_list type=\"slist\">{entries}\
         <SandeshUVECacheResp type=\"sandesh\"><returned type=\"u32\" identifier=\"1\">1</returned>\
         <more type=\"bool\" identifier=\"0\">false</more></SandeshUVECacheResp></__NodeStatusUVE_list>"
    )
}

/// One entry, with `inner` after its name.
fn entry(inner: &str) -> String {
    format!(
        "<NodeStatusUVE type=\"sandesh\">\n <data type=\"struct\" identifier=\"1\">\n  <NodeStatus>\n\
         <name type=\"string\" identifier=\"1\" key=\"ObjectConfigNode\">cfg-3</name>\n{inner}\n\
         </NodeStatus>\n </data>\n</NodeStatusUVE>"
    )
}

/// A process_status of `processes`.
fn list(processes: &str) -> String {
    format!(
        "<process_status type=\"list\" identifier=\"4\" aggtype=\"union\">\n<list type=\"struct\" size=\"1\">\n\
         {processes}</list></process_status>"
    )
}

/// One connection.
fn link(kind: &str, name: &str, status: &str) -> String {
    format!(
        "<ConnectionInfo>\n<type type=\"string\" identifier=\"1\">{kind}</type>\n\
         <name type=\"string\" identifier=\"2\">{name}</name>\n\
         <server_addrs type=\"list\" identifier=\"3\"><list type=\"string\" size=\"1\">\
         <element>198.51.100.7:2181</element></list></server_addrs>\n\
         <status type=\"string\" identifier=\"4\">{status}</status>\n\
         <description type=\"string\" identifier=\"5\">of the link</description>\n</ConnectionInfo>"
    )
}

/// One process, as svc-monitor of node cfg-3 might write it.
fn process(state: &str, links: &str, description: &str) -> String {
    format!(
        "<ProcessStatus>\n<module_id type=\"string\" identifier=\"1\">contrail-svc-monitor</module_id>\n\
         <instance_id type=\"string\" identifier=\"2\">0</instance_id>\n\
         <state type=\"string\" identifier=\"3\">{state}</state>\n\
         <connection_infos type=\"list\" identifier=\"4\"><list type=\"struct\" size=\"2\">{links}</list></connection_infos>\n\
         <description type=\"string\" identifier=\"5\">{description}</description>\n</ProcessStatus>"
    )
}

/// The page of one process.
fn whole(state: &str, links: &str, description: &str) -> String {
    page(&entry(&list(&process(state, links, description))))
}

/// The state that a page reports, or why it reports none.
fn said(text: &str) -> String {
    status_in(text.as_bytes()).map_or_else(|problem| format!("port N {problem}"), |status| status.to_string())
}

#[test]
fn a_page_says_how_the_service_is() {
    let down = link("Zookeeper", "Zookeeper", "Down");
    let up = link("Database", "RabbitMQ", "Up");
    let tor = link("ToR", "leaf-12", "Down");
    let tables: &[(&str, String, &str)] = &[
        ("works", whole("Functional", &up, ""), "active"),
        ("waits", whole("Non-Functional", &down, "Zookeeper:Zookeeper connection down"), "initializing (Zookeeper:Zookeeper connection down)"),
        ("waits and does not say for what", whole("Non-Functional", &down, ""), "initializing"),
        ("waits for blanks", whole("Non-Functional", "", " \n\t "), "initializing"),
        ("blanks around", whole("\n  Functional\n ", &up, ""), "active"),
        ("links tell nothing", whole("Functional", &down, ""), "active"),
        ("a ToR's status comes first", whole("Non-Functional", &format!("{up}{tor}{down}"), "Number of connections:1, Expected:2"), "initializing (ToR:leaf-12 connection down)"),
        ("the last ToR's", whole("Non-Functional", &format!("{tor}{}", link("ToR", "leaf-13", "Initializing")), ""), "initializing (ToR:leaf-13 connection initializing)"),
        ("a ToR without status", whole("Non-Functional", &link("ToR", "leaf-12", ""), "waits"), "initializing (waits)"),
        ("another word", whole("Half-Functional", &up, "hm"), "port N answers with the state Half-Functional"),
        ("another case", whole("functional", &up, ""), "port N answers with the state functional"),
        ("no state", page(&entry(&list("<ProcessStatus><module_id>x</module_id></ProcessStatus>"))), "port N answers with a process_status that has no state"),
        ("a self-closed state", page(&entry(&list("<ProcessStatus><state/></ProcessStatus>"))), "port N answers with a process_status that has no state"),
        ("a self-closed process", page(&entry(&list("<ProcessStatus/>"))), "port N answers with a process_status that has no state"),
        ("self-closed parts", page(&entry(&list("<ProcessStatus><state>Non-Functional</state><connection_infos/><description type=\"string\" identifier=\"5\"/></ProcessStatus>"))), "initializing"),
        ("an empty list", page(&entry(&list(""))), "port N answers with an empty process_status"),
        ("a self-closed list", page(&entry("<process_status><list type=\"struct\" size=\"0\"/></process_status>")), "port N answers with an empty process_status"),
        ("a self-closed process_status", page(&entry("<process_status type=\"list\"/>")), "port N answers with an empty process_status"),
        ("only the first process counts", page(&entry(&list(&format!("{}{}", process("Non-Functional", "", "first"), process("Functional", "", ""))))), "initializing (first)"),
        ("an entry without process_status is skipped", page(&format!("{}{}", entry(""), entry(&list(&process("Functional", "", ""))))), "active"),
        ("the second entry tells nothing", page(&format!("{}{}", entry(&list(&process("Functional", "", ""))), entry(&list(&process("Non-Functional", "", "second"))))), "active"),
        ("what came before is forgotten", page(&format!("{}{}", process("Functional", &tor, "stray"), entry(&list("<ProcessStatus><state>Non-Functional</state></ProcessStatus>")))), "initializing"),
        ("no entry has a process_status", page(&format!("{}{}", entry(""), entry("<process_info/>"))), "port N answers with a NodeStatus that has no process_status"),
        ("no entry", page(""), "port N answers without a NodeStatus"),
        ("another list of processes", page(&entry(&format!("<process_info type=\"list\"><list>{}</list></process_info>", process("Functional", "", "")))), "port N answers with a NodeStatus that has no process_status"),
        ("a process elsewhere", page(&list(&process("Functional", "", ""))), "port N answers without a NodeStatus"),
        ("newer fields and numbers", whole("Functional", &up, "").replace("identifier=\"5\"", "identifier=\"6\"").replace("<description", "<flag_infos type=\"list\" identifier=\"5\"><list><FlagInfo><name>n</name><state>Non-Functional</state><status>Down</status></FlagInfo></list></flag_infos><description"), "active"),
        ("no attributes", whole("Functional", &up, "").replace(" type=\"string\"", ""), "active"),
        ("broken attributes", whole("Functional", &up, "").replace("type=\"string\"", "type= = 'x"), "port N answers with invalid or incomplete XML"),
        ("entities and CDATA", whole("Non-Functional", "", "a &lt;b&gt; &amp; &#99;&#x64; <![CDATA[<e>]]> & f"), "initializing (a <b> & cd <e> & f)"),
        ("unknown and wrong entities", whole("Non-Functional", "", "&nbsp;&#0;&#xffffffff;&me;"), "initializing (&nbsp;&#0;&#xffffffff;&me;)"),
        ("one line without control characters", whole("Non-Functional", "", "a\r\n\tb\u{1b}[2Jc&#27;d"), "initializing (a b [2Jc d)"),
        ("comments", whole("<!-- Non- -->Functional", "<!-- </ProcessStatus> -->", ""), "active"),
    ];
    for (what, text, expected) in tables {
        assert_eq!(said(text), *expected, "{what}: {text}");
    }
}

#[test]
fn what_is_no_page_says_nothing() {
    let good = whole("Functional", &link("Database", "Cassandra", "Up"), "");
    let in_state = good.find("Functional").unwrap_or_default();
    let tables: &[(&str, &str)] = &[
        ("", "port N answers without a NodeStatus"),
        ("not XML", "port N answers without a NodeStatus"),
        ("\0\0\u{feff}", "port N answers without a NodeStatus"),
        ("<!DOCTYPE html><html><body><h1>Error</h1></body></html>", "port N answers without a NodeStatus"),
        ("<html><head><meta x><br></head><body>Oops</body></html>", "port N answers with invalid or incomplete XML"),
        ("<", "port N answers with invalid or incomplete XML"),
        ("</a>", "port N answers with invalid or incomplete XML"),
        ("<NodeStatus>", "port N answers with invalid or incomplete XML"),
        ("<NodeStatus/>", "port N answers with a NodeStatus that has no process_status"),
        ("{\"NodeStatus\": []}", "port N answers without a NodeStatus"),
        (&good[..in_state + 4], "port N answers with invalid or incomplete XML"),
        (&good[..in_state + "Functional</state>".len()], "port N answers with invalid or incomplete XML"),
    ];
    for (text, expected) in tables {
        assert_eq!(said(text), *expected, "{text}");
    }
    // Once the process is complete, nothing that follows can change the answer.
    let end = good.find("</ProcessStatus>").unwrap_or_default() + "</ProcessStatus>".len();
    assert_eq!(said(&good[..end]), "active");
}

/// Every prefix of a page gives either nothing or the same as the whole page.
#[test]
fn a_cut_page_is_never_another_page() {
    let text = whole("Non-Functional", &link("ToR", "leaf-12", "Down"), "waits");
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        let said = said(&text[..end]);
        assert!(said.starts_with("port N ") || said == "initializing (ToR:leaf-12 connection down)", "{end}: {said}");
    }
}

#[test]
fn bombs_and_towers_are_harmless() {
    let mut bomb = String::from("<!DOCTYPE z [<!ENTITY a0 \"Functional\">");
    for level in 1..40 {
        bomb += &format!("<!ENTITY a{level} \"&a{};&a{};\">", level - 1, level - 1);
    }
    bomb += "<!ENTITY file SYSTEM \"file:///etc/passwd\">]>";
    assert_eq!(said(&format!("{bomb}{}", whole("Functional", "", ""))), "active");
    assert_eq!(said(&format!("{bomb}{}", whole("&a0;", "", ""))), "port N answers with the state &a0;");
    assert_eq!(said(&format!("{bomb}{}", whole("Non-Functional", "", "&a39;&file;"))), "initializing (&a39;&file;)");
    let tower = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
    assert_eq!(said(&tower), "port N answers with elements nested too deeply");
    assert_eq!(said(&whole("Functional", &tower, "")), "port N answers with elements nested too deeply");
    let fits = format!("{}{}", "<a>".repeat(DEPTH_LIMIT - 9), "</a>".repeat(DEPTH_LIMIT - 9));
    assert_eq!(said(&whole("Functional", &fits, "")), "active");
    assert_eq!(
        said(&whole("Functional", &format!("<a>{fits}</a>"), "")),
        "port N answers with elements nested too deeply"
    );
}

#[test]
fn reasons_are_short() {
    let long = "wäit ".repeat(100_000);
    for text in [whole("Non-Functional", "", &long), whole("Non-Functional", &link("ToR", &long, "Down"), "")] {
        match status_in(text.as_bytes()) {
            Ok(FunctionalState::Initializing { reason: Some(reason) }) => {
                assert!(reason.len() <= 512, "{}", reason.len())
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn words_and_wellness() {
    let tables = [
        (FunctionalState::Active, "active", true),
        (FunctionalState::Backup, "backup", true),
        (FunctionalState::Timeout, "timeout", false),
        (FunctionalState::Initializing { reason: None }, "initializing", false),
    ];
    for (status, word, well) in tables {
        assert_eq!((status.status().as_str(), status.to_string().as_str(), status.is_well()), (word, word, well));
    }
    let status = FunctionalState::initializing("Zookeeper: connection\ndown");
    assert_eq!((status.to_string().as_str(), status.is_well()), ("initializing (Zookeeper: connection down)", false));
}

#[test]
fn ports_are_those_of_processes_that_have_one() {
    let ports = ctl_inventory::built_in_role("config").expect("a role").introspect;
    let mut own = ports.clone();
    own.insert("contrail-api:1".to_owned(), 8184);
    let tables = [
        (&ports, "contrail-api", "contrail-api", Some(8084)),
        (&ports, "contrail-api", "0", Some(8084)),
        (&ports, "contrail-api", "contrail-api:0", Some(8084)),
        (&ports, "contrail-api", "1", None),
        (&ports, "contrail-api", "contrail-api:1", None),
        (&ports, "contrail-api", "01", None),
        (&ports, "contrail-api", "", Some(8084)),
        (&own, "contrail-api", "0", Some(8084)),
        (&own, "contrail-api", "1", Some(8184)),
        (&own, "contrail-api", "contrail-api:1", Some(8184)),
        (&own, "contrail-api", "2", None),
        (&ports, "contrail-discovery", "0", Some(5997)),
        (&ports, "contrail-schema", "contrail-schema", Some(8087)),
        (&ports, "contrail-schema", "something-else", None),
        (&ports, "ifmap", "ifmap", None),
    ];
    for (ports, group, process, expected) in tables {
        assert_eq!(port_of(ports, group, process), expected, "{group} {process}");
    }
}

/// Pieces that a page is made of, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let names = ["NodeStatus", "process_status", "list", "ProcessStatus", "state", "description", "ConnectionInfo"];
    let mut words: Vec<String> = ["type", "name", "status"]
        .iter()
        .chain(&names)
        .flat_map(|name| [format!("<{name}>"), format!("<{name}/>"), format!("</{name}>"), format!("<{name} a='")])
        .collect();
    let others = [
        "Functional",
        "Non-Functional",
        "ToR",
        "Down",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<?",
        "?>",
        "<!DOCTYPE",
        "[",
        "]>",
        "<!ENTITY",
        "&amp;",
        "&#0;",
        "&#x;",
        "&x;",
        "&",
        "<",
        ">",
        "/",
        "'",
        "\"",
        "\0",
        "é",
        "\u{fffd}",
        "\u{feff}",
        "\n",
    ];
    words.extend(others.map(str::to_owned));
    prop::collection::vec(prop::sample::select(words), 0..60).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..2000)) {
        drop(status_in(&body));
    }

    #[test]
    fn any_pieces_are_read_without_a_panic(pieces in pieces()) {
        drop(status_in(pieces.as_bytes()));
        drop(status_in(whole(&pieces, "", "").as_bytes()));
        drop(status_in(whole("Functional", &pieces, &pieces).as_bytes()));
    }

    /// A page that was cut or changed on the way.
    #[test]
    fn a_broken_page_is_read_without_a_panic(at in 0_usize..1500, byte: u8, cut: bool) {
        let mut body = whole("Functional", &link("Database", "Cassandra", "Up"), "é").into_bytes();
        let at = at % body.len();
        if cut { body.truncate(at) } else { body[at] = byte }
        drop(status_in(&body));
    }

    #[test]
    fn a_reason_is_one_short_line(text in any::<String>()) {
        if let FunctionalState::Initializing { reason: Some(reason) } = FunctionalState::initializing(&text) {
            prop_assert!(!reason.is_empty() && reason.len() <= 512 && !reason.contains(char::is_control), "{reason:?}");
        }
    }
}

/// The server on the queried port.
#[derive(Clone)]
enum IntrospectServer {
    /// Nobody: the channel is refused for this reason.
    Refuses(&'static str),
    /// The node never says whether it opens the channel.
    NeverOpens,
    /// The connection to the node is gone.
    Gone,
    /// Writes these pieces and closes.
    Says(Vec<Vec<u8>>),
    /// Writes these bytes and stays silent.
    Hangs(&'static str),
    /// Writes this for ever, with a pause each time.
    Repeats(&'static str, Duration),
}

/// A node with one port.
struct FakeNode {
    server: IntrospectServer,
    asked: Mutex<Vec<(String, u16)>>,
    request: Arc<Mutex<String>>,
    left: Arc<AtomicBool>,
    closed: bool,
}

impl FakeNode {
    fn new(server: IntrospectServer) -> Self {
        Self { server, asked: Mutex::default(), request: Arc::default(), left: Arc::default(), closed: false }
    }

    /// A server that answers with this text.
    fn says(text: impl Into<String>) -> Self {
        Self::new(IntrospectServer::Says(vec![text.into().into_bytes()]))
    }

    async fn asked(&self, service: &str) -> Result<FunctionalState, TransportError> {
        ask(self, service, 8089, Duration::from_secs(2), ready(false)).await
    }
}

/// The other end of a channel.
async fn serve(server: IntrospectServer, mut stream: DuplexStream, request: Arc<Mutex<String>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    *request.lock().expect("a lock") = String::from_utf8_lossy(&head).into_owned();
    match server {
        IntrospectServer::Says(parts) => {
            for part in parts {
                stream.write_all(&part).await?;
                stream.flush().await?;
                tokio::task::yield_now().await;
            }
            stream.shutdown().await
        }
        IntrospectServer::Hangs(text) => {
            stream.write_all(text.as_bytes()).await?;
            // Ends when the other side has let go.
            stream.read_buf(&mut head).await.map(drop)
        }
        IntrospectServer::Repeats(text, pause) => loop {
            stream.write_all(text.as_bytes()).await?;
            tokio::time::sleep(pause).await;
        },
        IntrospectServer::Refuses(_) | IntrospectServer::NeverOpens | IntrospectServer::Gone => {
            Err(ErrorKind::Unsupported.into())
        }
    }
}

/// A command that is never run.
struct NoCommand;

impl RemoteCommand for NoCommand {
    async fn write(&mut self, _bytes: &[u8]) -> Result<(), TransportError> {
        Err(TransportError::Lost { reason: "not played here".to_owned() })
    }

    async fn next(&mut self) -> Option<OutputPiece> {
        None
    }

    async fn close(&mut self) {}
}

impl Session for FakeNode {
    type Stream = DuplexStream;
    type Command = NoCommand;

    async fn start(&self, _command: &str) -> Result<NoCommand, TransportError> {
        Err(TransportError::CommandRefused { reason: "not played here".to_owned() })
    }

    async fn exec(
        &self,
        _command: &str,
        _limit: usize,
        _is_whole: impl Fn(&[u8]) -> bool + Send,
    ) -> Result<ExecOutput, TransportError> {
        Err(TransportError::CommandRefused { reason: "not played here".to_owned() })
    }

    async fn open_unix(&self, path: &str) -> Result<DuplexStream, TransportError> {
        Err(TransportError::ChannelRefused { what: path.to_owned(), reason: "not played here".to_owned() })
    }

    async fn open_tcp(&self, host: &str, port: u16) -> Result<DuplexStream, TransportError> {
        self.asked.lock().expect("a lock").push((host.to_owned(), port));
        match &self.server {
            IntrospectServer::Refuses(reason) => {
                Err(TransportError::ChannelRefused { what: format!("{host}:{port}"), reason: (*reason).to_owned() })
            }
            IntrospectServer::Gone => Err(TransportError::Lost { reason: "no route to host".to_owned() }),
            IntrospectServer::NeverOpens => std::future::pending().await,
            server @ (IntrospectServer::Says(_) | IntrospectServer::Hangs(_) | IntrospectServer::Repeats(..)) => {
                let (near, far) = tokio::io::duplex(64 * 1024);
                let (server, request, left) = (server.clone(), Arc::clone(&self.request), Arc::clone(&self.left));
                tokio::spawn(async move {
                    drop(serve(server, far, request).await);
                    left.store(true, Ordering::SeqCst);
                });
                Ok(near)
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.closed
    }

    async fn falls_silent(&self) {
        std::future::pending().await
    }
}

fn plain(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn the_question_is_the_one_of_contrail_status() {
    let node = FakeNode::says(plain(&whole("Functional", "", "")));
    assert_eq!(node.asked("contrail-collector").await, Ok(FunctionalState::Active));
    assert_eq!(*node.asked.lock().expect("a lock"), [("localhost".to_owned(), 8089)]);
    let request = node.request.lock().expect("a lock").to_lowercase();
    assert!(request.starts_with("get /snh_sandeshuvecachereq?x=nodestatus http/1.1\r\n"), "{request}");
    assert!(
        request.contains("\r\nhost: localhost:8089\r\n") && request.contains("\r\nconnection: close\r\n"),
        "{request}"
    );
}

/// However the servers frame an answer, it is the same answer.
#[tokio::test]
async fn answers_in_every_framing() {
    let body = whole("Non-Functional", "", "Database:Cassandra connection down");
    let (first, second) = body.split_at(body.len() / 3);
    let chunked = format!("{:x}\r\n{first}\r\n{:X};x=y\r\n{second}\r\n0\r\n\r\n", first.len(), second.len());
    let answers = [
        plain(&body),
        format!("HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\n\r\n{body}"),
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}"),
        format!("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
        format!("HTTP/1.1 200 Fine by me\nContent-Length: {}\n\n{body}", body.len()),
        format!("HTTP/1.1 200\r\nServer : old\r\nno colon at all\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        format!("HTTP/1.1 100 Continue\r\n\r\n{}", plain(&body)),
    ];
    let expected = FunctionalState::initializing("Database:Cassandra connection down");
    for answer in &answers {
        assert_eq!(FakeNode::says(answer).asked("contrail-collector").await.as_ref(), Ok(&expected), "{answer}");
        let bytes = answer.bytes().map(|byte| vec![byte]).collect();
        let node = FakeNode::new(IntrospectServer::Says(bytes));
        assert_eq!(node.asked("contrail-collector").await.as_ref(), Ok(&expected), "byte by byte: {answer}");
    }
}

#[tokio::test]
async fn answers_that_are_none_are_initializing() {
    let body = whole("Functional", "", "");
    let cut = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len() + 1);
    let huge = format!("HTTP/1.1 200 OK\r\n\r\n{body}{}", " ".repeat(BODY_LIMIT));
    let boast = format!("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n{body}");
    let long_head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n{body}", "x".repeat(HEAD_LIMIT));
    let tables = [
        (format!("HTTP/1.1 404 Not Found\r\n\r\n{body}"), "port 8089 answers with HTTP status 404 Not Found"),
        (format!("HTTP/1.1 500 Sorry\r\n\r\n{body}"), "port 8089 answers with HTTP status 500 Internal Server Error"),
        (format!("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n{body}"), "port 8089 answers with HTTP status 302 Found"),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), "port 8089 answers with HTTP status 204 No Content"),
        (plain("<html>Unauthorized<br></html>"), "port 8089 answers with invalid or incomplete XML"),
        (plain(""), "port 8089 answers without a NodeStatus"),
        (plain(&page("")), "port 8089 answers without a NodeStatus"),
        (plain(&page(&entry(&list("")))), "port 8089 answers with an empty process_status"),
        (plain(&whole("Zombie\n\u{7}", "", "")), "port 8089 answers with the state Zombie"),
        ("SSH-2.0-OpenSSH_6.6\r\n\r\n".to_owned(), "port 8089 does not speak HTTP"),
        ("HTTP/1.1 200 \u{1b}[2J\r\n\r\n".to_owned(), "port 8089 does not speak HTTP"),
        ("\u{15}\u{3}\u{1}\0\u{2}\u{2}".to_owned(), "port 8089 does not speak HTTP"),
        (long_head, "port 8089 does not speak HTTP"),
        (String::new(), "port 8089 closed the connection before the answer was complete"),
        ("HTTP/1.1 200 OK\r\nContent-".to_owned(), "port 8089 closed the connection before the answer was complete"),
        (cut, "port 8089 closed the connection before the answer was complete"),
        (huge, "port 8089 answers with more than 1048576 bytes"),
        (boast, "port 8089 closed the connection before the answer was complete"),
    ];
    for (answer, expected) in tables {
        for service in ["contrail-collector", "contrail-schema"] {
            let said = FakeNode::says(&answer).asked(service).await;
            let start: String = answer.chars().take(80).collect();
            assert_eq!(said, Ok(FunctionalState::Initializing { reason: Some(expected.to_owned()) }), "{start}");
        }
    }
}

/// A standby does not listen; everyone else should. Who was not let through has learnt nothing.
#[tokio::test]
async fn a_refused_connection_is_backup_for_those_who_stand_by() {
    let nobody = FunctionalState::initializing("nothing is listening on port 8089");
    let tables = [
        ("contrail-schema", CONNECT_FAILED, FunctionalState::Backup),
        ("contrail-svc-monitor", CONNECT_FAILED, FunctionalState::Backup),
        ("contrail-device-manager", CONNECT_FAILED, FunctionalState::Backup),
        ("contrail-api", CONNECT_FAILED, nobody.clone()),
        ("contrail-schema-2", CONNECT_FAILED, nobody.clone()),
        ("", CONNECT_FAILED, nobody),
        (
            "contrail-schema",
            "AdministrativelyProhibited",
            FunctionalState::initializing("the node did not open localhost:8089: AdministrativelyProhibited"),
        ),
        (
            "contrail-api",
            "ResourceShortage",
            FunctionalState::initializing("the node did not open localhost:8089: ResourceShortage"),
        ),
    ];
    for (service, reason, expected) in tables {
        let node = FakeNode::new(IntrospectServer::Refuses(reason));
        assert_eq!(node.asked(service).await, Ok(expected), "{service}: {reason}");
    }
}

/// OpenSSH 7.4 gives this reason also for a port that nobody listens on, so the node's own list of ports decides.
#[tokio::test]
async fn a_prohibited_stream_to_a_closed_port_is_a_refused_connection() {
    let node = FakeNode::new(IntrospectServer::Refuses("AdministrativelyProhibited"));
    let nobody = FunctionalState::initializing("nothing is listening on port 8089");
    for (service, expected) in [("contrail-schema", FunctionalState::Backup), ("contrail-api", nobody)] {
        let asked = ask(&node, service, 8089, Duration::from_secs(2), ready(true)).await;
        assert_eq!(asked, Ok(expected), "{service}");
    }
    // The list proves nothing where sshd refuses for another reason.
    let node = FakeNode::new(IntrospectServer::Refuses("ResourceShortage"));
    let asked = ask(&node, "contrail-schema", 8089, Duration::from_secs(2), ready(true)).await;
    assert_ne!(asked, Ok(FunctionalState::Backup));
}

#[tokio::test(start_paused = true)]
async fn only_the_end_of_the_nodes_connection_is_an_error() {
    let gone = FakeNode::new(IntrospectServer::Gone).asked("contrail-schema").await;
    assert_eq!(gone, Err(TransportError::Lost { reason: "no route to host".to_owned() }));
    let lost = TransportError::Lost { reason: "it closed while querying the status of contrail-schema".to_owned() };
    for server in [
        IntrospectServer::Says(Vec::new()),
        IntrospectServer::Hangs(""),
        IntrospectServer::Hangs("HTTP/1.1 200 OK\r\n\r\n<a>"),
    ] {
        let node = FakeNode { closed: true, ..FakeNode::new(server) };
        assert_eq!(node.asked("contrail-schema").await, Err(lost.clone()));
    }
    // An answer that was whole counts.
    let node = FakeNode { closed: true, ..FakeNode::says(plain(&whole("Functional", "", ""))) };
    assert_eq!(node.asked("contrail-schema").await, Ok(FunctionalState::Active));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_is_a_timeout_and_is_let_go() {
    let drip = Duration::from_millis(100);
    let servers = [
        IntrospectServer::NeverOpens,
        IntrospectServer::Hangs(""),
        IntrospectServer::Hangs("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n<a>"),
        IntrospectServer::Repeats("HTTP/1.1 100 Continue\r\n\r\n", drip),
        IntrospectServer::Repeats("\r\n", drip),
    ];
    for (index, server) in servers.into_iter().enumerate() {
        let opens = !matches!(server, IntrospectServer::NeverOpens);
        let node = FakeNode::new(server);
        let begin = Instant::now();
        assert_eq!(node.asked("contrail-schema").await, Ok(FunctionalState::Timeout), "{index}");
        assert_eq!(begin.elapsed().as_millis() / 10, 200, "{index}");
        tokio::time::sleep(drip * 2).await;
        assert_eq!(node.left.load(Ordering::SeqCst), opens, "{index}: the channel is closed");
    }
}

/// An answer that is long enough is given up, even where the server would go on for ever.
#[tokio::test(start_paused = true)]
async fn an_endless_answer_is_given_up() {
    let text = "HTTP/1.1 200 OK\r\n\r\n";
    let node = FakeNode::new(IntrospectServer::Repeats(text, Duration::from_micros(1)));
    let patience = Duration::from_secs(3600);
    let said = ask(&node, "contrail-api", 8084, patience, ready(false)).await;
    assert_eq!(said, Ok(FunctionalState::initializing("port 8084 answers with more than 1048576 bytes")));
}
