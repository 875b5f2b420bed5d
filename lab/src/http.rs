//! supervisord's HTTP server, including its bugs, on any byte stream.
//!
//! It reproduces these bugs, each seen on supervisor 4.2.5: a body without Content-Length gets 411, and the bytes after
//! it break the connection; a request sent while an earlier one still waits for its process turns both replies into a
//! jumble that begins with 400, though the action runs; a 401 leaves the connection open and ignores further input.
//! Invariants: a client that disconnects stops no action.

use std::sync::Arc;

use dxr::MethodCall;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::fault::Fault;
use crate::rpc::{self, Reply};
use crate::rpcfault::code;
use crate::supervisord::Supervisord;
use crate::util::{Date, base64};
use crate::xml;

/// Larger than any request of a supervisord client; the real server has no limit.
const MAX_REQUEST: usize = 16 << 20;

/// The head of a request.
#[derive(Debug, Clone)]
struct Head {
    method: String,
    uri: String,
    version: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// `None` for a first line that supervisord's server cannot parse; the server then closes the connection.
    fn parse(block: &str) -> Option<Self> {
        let mut lines = block.split("\r\n").skip_while(|l| l.is_empty());
        let mut words = lines.next()?.split(' ');
        let (method, uri) = (words.next()?, words.next()?);
        let version = words.next()?.strip_prefix("HTTP/")?;
        if words.next().is_some() || method.is_empty() || uri.is_empty() {
            return None;
        }
        let fields = lines.filter_map(|l| l.split_once(": ")).map(|(k, v)| (k.to_ascii_lowercase(), v.to_owned()));
        Some(Self {
            method: method.to_owned(),
            uri: uri.to_owned(),
            version: version.to_owned(),
            fields: fields.collect(),
        })
    }

    fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(k, _)| k == name);
        found.map(|(_, v)| v.as_str())
    }

    fn closes(&self) -> bool {
        let connection = self.field("connection").unwrap_or("").to_ascii_lowercase();
        match self.version.as_str() {
            "1.1" => connection == "close",
            _ => connection != "keep-alive",
        }
    }

    fn reply(&self, status: u16, kind: &str, length: u64, extra: &str) -> String {
        let reason = match status {
            200 => "OK",
            400 => "Bad Request",
            401 => "Unauthorized",
            404 => "Not Found",
            411 => "Length Required",
            _ => "Internal Server Error",
        };
        let date = Date::from_epoch(crate::util::Clock::start().epoch_now()).http();
        format!(
            "HTTP/{} {status} {reason}\r\nServer: Medusa/1.12\r\nDate: {date}\r\n{extra}\
             Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n",
            self.version
        )
    }
}

fn error_page(status: u16) -> String {
    let message = match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        411 => "Length Required",
        _ => "Internal Server Error",
    };
    format!(
        "<head>\r\n<title>Error response</title>\r\n</head>\r\n<body>\r\n<h1>Error response</h1>\r\n\
         <p>Error code {status}.\r\n<p>Message: {message}.\r\n</body>\r\n"
    )
}

/// The position right after the first empty line.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|p| p + 4)
}

/// What the connection does after a request.
enum Next {
    Go,
    Close,
}

struct Conn<S> {
    stream: S,
    buffer: Vec<u8>,
    sup: Arc<Supervisord>,
    generation: tokio::sync::watch::Receiver<u64>,
}

/// Serves one connection until the client, supervisord or the lab ends it.
pub(crate) async fn serve<S>(stream: S, sup: Arc<Supervisord>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut generation = sup.generation.subscribe();
    generation.mark_unchanged();
    let shared = Arc::clone(&sup.shared);
    let mut conn = Conn { stream, buffer: Vec::new(), sup, generation };
    tokio::select! {
        () = conn.run() => {}
        () = shared.until_closing() => {}
    }
    // The peer may have disconnected already.
    let _gone = conn.stream.shutdown().await.is_err();
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Conn<S> {
    async fn run(&mut self) {
        loop {
            let head = loop {
                if let Some(end) = end_of_head(&self.buffer) {
                    let block: Vec<u8> = self.buffer.drain(..end).collect();
                    break String::from_utf8_lossy(&block[..end - 4]).into_owned();
                }
                if !self.fill().await {
                    return;
                }
            };
            let Some(head) = Head::parse(&head) else {
                return;
            };
            match self.request(&head).await {
                Some(Next::Go) if !head.closes() => {}
                _ => return,
            }
        }
    }

    /// Reads more. Returns false if no more will come, because the peer or supervisord closed the connection.
    async fn fill(&mut self) -> bool {
        if self.buffer.len() > MAX_REQUEST {
            return false;
        }
        tokio::select! {
            read = self.stream.read_buf(&mut self.buffer) => matches!(read, Ok(n) if n > 0),
            _ = self.generation.changed() => false,
        }
    }

    async fn send(&mut self, text: &str) -> Option<()> {
        self.stream.write_all(text.as_bytes()).await.ok()?;
        self.stream.flush().await.ok()
    }

    async fn error(&mut self, head: &Head, status: u16) -> Option<Next> {
        let page = error_page(status);
        let reply = head.reply(status, "text/html", page.len() as u64, "") + &page;
        self.send(&reply).await?;
        Some(Next::Go)
    }

    /// Handles one request; `None` when the connection is broken.
    async fn request(&mut self, head: &Head) -> Option<Next> {
        if let Some((user, password)) = self.sup.shared.spec.rpc_auth.clone()
            && !authorized(head, &user, &password)
        {
            let page = error_page(401);
            let extra = "Connection: close\r\nWWW-Authenticate: Basic realm=\"default\"\r\n";
            let reply = head.reply(401, "text/html", page.len() as u64, extra) + &page;
            self.send(&reply).await?;
            while self.fill().await {
                self.buffer.clear();
            }
            return None;
        }
        if !head.uri.starts_with("/RPC2") {
            return self.error(head, 404).await;
        }
        if head.method != "POST" {
            return self.error(head, 400).await;
        }
        let Some(length) = head.field("content-length") else {
            return self.error(head, 411).await;
        };
        let Ok(length) = length.trim().parse::<usize>() else {
            return self.error(head, 500).await;
        };
        while self.buffer.len() < length {
            if !self.fill().await {
                return None;
            }
        }
        let body: Vec<u8> = self.buffer.drain(..length).collect();
        self.call(head, &String::from_utf8_lossy(&body)).await
    }

    async fn call(&mut self, head: &Head, body: &str) -> Option<Next> {
        if self.sup.shared.has(&Fault::GarbageRpc) {
            self.send("\u{0}\u{1}\u{2}this is not HTTP\r\n\u{1b}[2J\r\n\r\n\r\n").await?;
            return Some(Next::Close);
        }
        let Some((method, params)) = parse_call(body) else {
            return self.error(head, 400).await;
        };
        let (answer, jumbled) = match rpc::call(&self.sup, &method, params) {
            Reply::Now(answer) => (answer, false),
            Reply::Crash => return self.error(head, 500).await,
            Reply::Later(later) => self.deferred(later).await?,
        };
        if matches!(&answer, Err(fault) if fault.code == code::GONE) {
            return None;
        }
        let shared = Arc::clone(&self.sup.shared);
        if rpc::is_action(&method) && shared.has(&Fault::ReplyLost) {
            return None;
        }
        if shared.has(&Fault::EndlessRpc) {
            return self.endless(head).await;
        }
        let mut xml = xml::response(&answer);
        if shared.has(&Fault::GarbageXml) {
            xml = "<?xml version='1.0'?>\n<methodResponse><params><param><value><array>\
                   <data><value><int>1 &bogus;\u{1}</int><oops"
                .to_owned();
        }
        let size = xml.len() as u64;
        if jumbled {
            let page = error_page(400);
            let reply = head.reply(400, "text/xml", size, "")
                + &head.reply(400, "text/html", page.len() as u64, "")
                + &page
                + &xml;
            self.send(&reply).await?;
        } else {
            let reply = head.reply(200, "text/xml", size, "") + &xml;
            self.send(&reply).await?;
        }
        Some(Next::Go)
    }

    /// Waits for a deferred reply. Anything that the client sends meanwhile is treated as part of the same request; an
    /// empty line in it makes the request unreadable (true in the result).
    async fn deferred(
        &mut self,
        mut later: std::pin::Pin<Box<dyn Future<Output = rpc::Answer> + Send>>,
    ) -> Option<(rpc::Answer, bool)> {
        let mut jumbled = false;
        loop {
            if !jumbled && let Some(end) = end_of_head(&self.buffer) {
                self.buffer.drain(..end);
                jumbled = true;
            }
            let answer = tokio::select! {
                biased;
                answer = &mut later => answer,
                more = self.fill() => if more { continue } else { return None },
            };
            if !jumbled {
                self.buffer.clear();
            }
            return Some((answer, jumbled));
        }
    }

    async fn endless(&mut self, head: &Head) -> Option<Next> {
        let start = head.reply(200, "text/xml", 1 << 40, "")
            + "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value><string>";
        self.send(&start).await?;
        let filler = "endless ".repeat(1024);
        loop {
            self.send(&filler).await?;
            tokio::task::yield_now().await;
        }
    }
}

fn authorized(head: &Head, user: &str, password: &str) -> bool {
    let Some((scheme, cookie)) = head.field("authorization").and_then(|v| v.split_once(' ')) else {
        return false;
    };
    scheme.eq_ignore_ascii_case("basic") && base64(cookie).is_some_and(|b| b == format!("{user}:{password}").as_bytes())
}

/// Parses a call. A missing `<params>` means no parameters.
fn parse_call(body: &str) -> Option<(String, Vec<dxr::Value>)> {
    let read = |text: &str| {
        let call = MethodCall::from_xml(text).ok()?;
        let name = call.name.trim().to_owned();
        (!name.is_empty()).then_some((name, call.params))
    };
    read(body).or_else(|| {
        if body.contains("<params") {
            return None;
        }
        read(&body.replace("</methodCall>", "<params></params></methodCall>"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_medusa_reads_them() {
        let head = Head::parse("\r\nPOST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 5");
        assert_eq!(head.and_then(|h| h.field("content-length").map(str::to_owned)).as_deref(), Some("5"));
        for bad in ["", "GARBAGE", "4", "POST /RPC2", "POST /RPC2 HTTP/1.1 x"] {
            assert!(Head::parse(bad).is_none(), "{bad}");
        }
        let old = Head::parse("POST / HTTP/1.0");
        assert!(old.is_some_and(|h| h.closes()));
    }

    #[test]
    fn calls_are_read_with_and_without_params() {
        let with = "<?xml version='1.0'?>\n<methodCall>\n<methodName>a.b</methodName>\n<params>\n\
                    <param>\n<value><string>x</string></value>\n</param>\n</params>\n</methodCall>\n";
        assert_eq!(parse_call(with), Some(("a.b".into(), vec![dxr::Value::String("x".into())])));
        let without = "<methodCall><methodName>a.b</methodName></methodCall>";
        assert_eq!(parse_call(without), Some(("a.b".into(), vec![])));
        assert_eq!(parse_call("hello"), None);
    }
}
