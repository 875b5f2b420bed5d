//! Controls headless Chromium over its DevTools protocol.
//!
//! Start at [`Browser::start`] and [`Page::open`]. Invariants: each browser has its own temporary profile; every network
//! request of any part of it ends in a trap on loopback that only records it ([`Browser::trapped`]); all console
//! messages are kept ([`Page::console`]).

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

/// The limit after which an operation counts as hanging.
const PATIENCE: Duration = Duration::from_secs(180);

const LOADED: &str = "Page.loadEventFired";

/// Hosts that Chromium itself contacts for the time, for updates and for accounts, on any page.
const MAKERS: [&str; 3] = ["google.com", "googleapis.com", "gvt1.com"];

/// A running browser. It is ended when dropped.
pub(crate) struct Browser {
    child: Child,
    // Kept as long as the browser writes to it.
    _profile: TempDir,
    address: String,
    trapped: Arc<Mutex<Vec<String>>>,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let profile = TempDir::new().expect("cannot create the directory");
        let trap = TcpListener::bind("127.0.0.1:0").expect("cannot bind a port");
        let proxy = format!("http://{}", trap.local_addr().expect("cannot read the address"));
        let trapped = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&trapped);
        std::thread::spawn(move || {
            for stream in trap.incoming().flatten() {
                note(stream, &shared);
            }
        });
        let mut command = Command::new("chromium");
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        // A container may have a small /dev/shm.
        command.args(["--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-port=0"]);
        command.arg(format!("--proxy-server={proxy}")).arg("--proxy-bypass-list=<-loopback>");
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("chromium: {error}: tests/run installs what the tests need (Debian: chromium)")
        });
        let told = profile.path().join("DevToolsActivePort");
        let address = eventually("the browser's address", || {
            let text = std::fs::read_to_string(&told).ok()?;
            let (port, path) = text.trim().split_once('\n')?;
            Some(format!("ws://127.0.0.1:{port}{path}"))
        });
        Self { child, _profile: profile, address, trapped }
    }

    /// The first line of each network request, except the browser's own requests to its vendor.
    pub(crate) fn trapped(&self) -> Vec<String> {
        let own = |line: &String| MAKERS.iter().any(|maker| host(line).ends_with(maker));
        let lines = self.trapped.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| !own(line)).cloned().collect()
    }

    /// An empty page of that size in CSS pixels.
    pub(crate) fn page(&self, width: u32, height: u32) -> Page {
        let port_and_path = self.address.trim_start_matches("ws://");
        let host = port_and_path.split('/').next().unwrap_or_default();
        let stream = TcpStream::connect(host).expect("cannot connect to the browser");
        stream.set_read_timeout(Some(PATIENCE)).expect("cannot set the timeout");
        let config = tungstenite::protocol::WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let (socket, _) = tungstenite::client::client_with_config(self.address.as_str(), stream, Some(config))
            .expect("cannot open the WebSocket");
        let mut page = Page { socket, session: None, last: 0, events: Vec::new() };
        let target = page.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = page.call("Target.attachToTarget", attach);
        page.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page.resize(width, height);
        page
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // This fails only if the process has ended by itself, which is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The host of `GET http://HOST/PATH HTTP/1.1` or `CONNECT HOST:443 HTTP/1.1`.
fn host(line: &str) -> &str {
    let address = line.split(' ').nth(1).unwrap_or_default();
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    address.split(['/', ':']).next().unwrap_or_default()
}

/// Records the request, and refuses it.
fn note(mut stream: TcpStream, trapped: &Mutex<Vec<String>>) {
    let mut line = String::new();
    drop(BufReader::new(&stream).read_line(&mut line));
    drop(stream.write_all(b"HTTP/1.1 502 Trapped\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
    trapped.lock().unwrap_or_else(PoisonError::into_inner).push(line.trim().to_owned());
}

/// A tab.
pub(crate) struct Page {
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    last: u64,
    events: Vec<Value>,
}

impl Page {
    /// Sends a command of the protocol, and returns its result.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut command = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        self.socket.send(Message::text(command.to_string())).expect("cannot send to the browser");
        loop {
            let mut message = self.read(method);
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
            self.events.push(message);
        }
    }

    #[track_caller]
    fn read(&mut self, what: &str) -> Value {
        loop {
            let message = self.socket.read().unwrap_or_else(|error| panic!("{what}: {error}"));
            if let Message::Text(text) = message {
                return serde_json::from_str(&text).expect("the protocol message is not valid JSON");
            }
        }
    }

    /// Opens a file, and waits until it is loaded completely.
    #[track_caller]
    pub(crate) fn open(&mut self, file: &Path) {
        let url = format!("file://{}", file.display());
        let before = self.events.len();
        let opened = self.call("Page.navigate", json!({"url": url}));
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
        let loaded = |events: &[Value]| events.iter().skip(before).any(|event| event["method"] == LOADED);
        while !loaded(&self.events) {
            let event = self.read(LOADED);
            self.events.push(event);
        }
    }

    /// Forces a draw of the page. All earlier messages and requests of the page have been read when the reply arrives.
    fn settle(&mut self) {
        let clip = json!({"x": 0, "y": 0, "width": 1, "height": 1, "scale": 1});
        self.call("Page.captureScreenshot", json!({"clip": clip}));
    }

    /// The value of an expression in the page; waits for promises.
    #[track_caller]
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", params);
        let shown: String = expression.chars().take(200).collect();
        assert!(answer["exceptionDetails"].is_null(), "{shown}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].take()
    }

    /// The visible text of the first matching element.
    #[track_caller]
    pub(crate) fn text(&mut self, selector: &str) -> String {
        let text = self.eval(&format!("document.querySelector({}).innerText", json!(selector)));
        text.as_str().unwrap_or_else(|| panic!("{selector} has no text")).to_owned()
    }

    /// Clicks an element with the mouse.
    #[track_caller]
    pub(crate) fn click(&mut self, selector: &str) {
        self.eval(&format!("document.querySelector({}).click()", json!(selector)));
    }

    /// Types into the focused element.
    pub(crate) fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Presses a key: its name, and the character it types, if any.
    pub(crate) fn key(&mut self, name: &str, code: u32, text: &str) {
        let mut down = json!({"type": "keyDown", "key": name, "code": name, "windowsVirtualKeyCode": code});
        if !text.is_empty() {
            down["text"] = text.into();
        }
        self.call("Input.dispatchKeyEvent", down);
        self.call(
            "Input.dispatchKeyEvent",
            json!({"type": "keyUp", "key": name, "code": name, "windowsVirtualKeyCode": code}),
        );
    }

    /// Resizes the window to that many CSS pixels.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let params = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", params);
    }

    /// Sets the preferred color scheme, `dark` or `light`, and the medium, `screen` or `print`.
    pub(crate) fn media(&mut self, media: &str, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"media": media, "features": features}));
    }

    fn named(&self, names: &[&str]) -> Vec<&Value> {
        self.events.iter().filter(|event| names.iter().any(|name| event["method"] == *name)).collect()
    }

    /// All console messages, including errors and refused loads, and all dialogs.
    pub(crate) fn console(&mut self) -> Vec<Value> {
        self.settle();
        let names =
            ["Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening"];
        self.named(&names).into_iter().map(|event| event["params"].clone()).collect()
    }

    /// The URLs of all requests, including the page itself.
    pub(crate) fn requests(&mut self) -> Vec<String> {
        self.settle();
        let url = |event: &Value| event["params"]["request"]["url"].as_str().map(str::to_owned);
        let sent = self.named(&["Network.requestWillBeSent", "Network.webSocketCreated"]);
        sent.into_iter().filter_map(url).collect()
    }
}

/// Waits until `look` returns a value.
fn eventually<R>(what: &str, mut look: impl FnMut() -> Option<R>) -> R {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
