//! The dialogue with a scripted sudo.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::collections::VecDeque;
use std::sync::Mutex as Plain;

use tokio::io::DuplexStream;
use tokio::sync::Notify;

use super::*;

/// The behavior of a node's sudo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SudoBehavior {
    /// Prints its lecture, asks, and accepts `right`.
    Asks,
    /// Runs the command at once.
    Free,
    /// The same, and a process left behind keeps the streams open.
    HoldsOpen,
    /// Asks for something else.
    AsksElse,
    /// Accepts the password, and rejects the command.
    Forbids,
    /// Runs the command at once, which leaves behind a process that prints forever.
    Leaves,
}

struct SudoNode {
    nature: SudoBehavior,
    /// The input of all its commands.
    written: Arc<Plain<Vec<String>>>,
}

struct RunningSudo {
    nature: SudoBehavior,
    prompt: String,
    mark: Option<String>,
    pieces: VecDeque<OutputPiece>,
    written: Arc<Plain<Vec<String>>>,
    more: Notify,
    is_closed: bool,
}

impl RunningSudo {
    fn runs(&mut self) {
        let mark = self.mark.clone().map(|mark| format!("noise of a login shell\n{mark}\n"));
        self.pieces.push_back(OutputPiece::Stdout(format!("{}output\n", mark.unwrap_or_default()).into_bytes()));
        self.pieces.push_back(OutputPiece::Stderr(b"its own complaint\n".to_vec()));
        self.ends(0);
    }

    fn ends(&mut self, code: u32) {
        self.pieces.push_back(OutputPiece::Exit(Some(code)));
        self.is_closed = true;
    }

    /// Byte by byte: a prompt may arrive in pieces.
    fn says(&mut self, text: &str) {
        self.pieces.extend(text.bytes().map(|byte| OutputPiece::Stderr(vec![byte])));
    }
}

impl RemoteCommand for RunningSudo {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        let line = String::from_utf8_lossy(bytes).into_owned();
        let is_right = line == "right\n";
        self.written.lock().unwrap().push(line);
        match self.nature {
            SudoBehavior::Asks if is_right => self.runs(),
            SudoBehavior::Forbids if is_right => {
                self.says("Sorry, user eve is not allowed to execute '/bin/sh' as root on a1.\n");
                self.ends(1);
            }
            SudoBehavior::Asks
            | SudoBehavior::Free
            | SudoBehavior::HoldsOpen
            | SudoBehavior::AsksElse
            | SudoBehavior::Forbids
            | SudoBehavior::Leaves => {
                let prompt = self.prompt.clone();
                self.says(&format!("Sorry, try again.\n{prompt}"));
            }
        }
        self.more.notify_one();
        Ok(())
    }

    async fn next(&mut self) -> Option<OutputPiece> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                tokio::task::yield_now().await;
                return Some(piece);
            }
            if self.nature == SudoBehavior::Leaves {
                tokio::time::sleep(Duration::from_millis(500)).await;
                return Some(OutputPiece::Stderr(b"x\n".to_vec()));
            }
            if self.is_closed {
                return None;
            }
            self.more.notified().await;
        }
    }

    async fn close(&mut self) {
        self.is_closed = true;
    }
}

impl Session for SudoNode {
    type Stream = DuplexStream;
    type Command = RunningSudo;

    async fn start(&self, line: &str) -> Result<RunningSudo, TransportError> {
        let word = |start: &str| line.split_whitespace().find(|word| word.starts_with(start)).map(str::to_owned);
        let mut running = RunningSudo {
            nature: self.nature,
            prompt: word("ctl-ask-").unwrap_or_default(),
            mark: word("ctl-run-"),
            pieces: VecDeque::new(),
            written: Arc::clone(&self.written),
            more: Notify::new(),
            is_closed: false,
        };
        match self.nature {
            SudoBehavior::Asks | SudoBehavior::Forbids => {
                let prompt = running.prompt.clone();
                running.says(&format!("We trust you have received the usual lecture.\n{prompt}"));
            }
            SudoBehavior::Free | SudoBehavior::Leaves => running.runs(),
            SudoBehavior::HoldsOpen => {
                let mark = running.mark.clone().unwrap_or_default();
                running.pieces.push_back(OutputPiece::Stdout(format!("\n{mark}\noutput\n\n{mark} 0\n").into_bytes()));
            }
            SudoBehavior::AsksElse => running.says("Welcome.\nVerification code: "),
        }
        Ok(running)
    }

    async fn exec(&self, _: &str, _: usize, _: impl Fn(&[u8]) -> bool + Send) -> Result<ExecOutput, TransportError> {
        Ok(ExecOutput { stderr: "sudo: a password is required\n".to_owned(), exit: Some(1), ..ExecOutput::default() })
    }

    async fn open_unix(&self, path: &str) -> Result<DuplexStream, TransportError> {
        Err(TransportError::ChannelRefused { what: path.to_owned(), reason: String::new() })
    }

    async fn open_tcp(&self, host: &str, _: u16) -> Result<DuplexStream, TransportError> {
        self.open_unix(host).await
    }

    fn is_closed(&self) -> bool {
        false
    }

    async fn falls_silent(&self) {
        std::future::pending().await
    }
}

fn node(nature: SudoBehavior) -> SudoNode {
    SudoNode { nature, written: Arc::default() }
}

fn sudo(password: &str) -> Sudo {
    Sudo::with_password(Arc::new(SecretString::from(password)))
}

async fn run(node: &SudoNode, sudo: &Sudo) -> Result<ExecOutput, ExecError> {
    let passage = SudoPrompt::new();
    let line = format!("{}supervisorctl status", sudo.prefix(&passage));
    sudo.exec(node, &passage, &line, 4096, |_| false).await
}

async fn enter(node: &SudoNode, sudo: &Sudo) -> Result<String, EnterError> {
    let passage = SudoPrompt::new();
    let line = format!("{}/bin/sh -c {}", sudo.prefix(&passage), passage.mark());
    let mut command = node.start(&line).await.unwrap();
    let rest = sudo.enter(&mut command, &passage, Duration::from_secs(30)).await?;
    Ok(String::from_utf8(rest).unwrap())
}

fn written(node: &SudoNode) -> Vec<String> {
    node.written.lock().unwrap().clone()
}

#[tokio::test]
async fn the_prompt_is_answered_once_a_command() {
    let (node, sudo) = (node(SudoBehavior::Asks), sudo("right"));
    for count in 1..=2 {
        let output = run(&node, &sudo).await.unwrap();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("output\n", "its own complaint\n"));
        assert_eq!(output.exit, Some(0));
        assert_eq!(written(&node).len(), count);
    }
    assert_eq!(enter(&node, &sudo).await.unwrap(), "output\n");
}

#[tokio::test]
async fn nothing_is_sent_where_nothing_is_asked() {
    let (node, sudo) = (node(SudoBehavior::Free), sudo("right"));
    assert_eq!(run(&node, &sudo).await.unwrap().stdout, "output\n");
    assert_eq!(enter(&node, &sudo).await.unwrap(), "output\n");
    assert!(written(&node).is_empty());
}

/// The command itself has exited, and its answer is complete.
#[tokio::test(start_paused = true)]
async fn processes_left_behind_are_not_waited_for() {
    let (node, sudo) = (node(SudoBehavior::Leaves), sudo("right"));
    let began = Instant::now();
    let output = tokio::time::timeout(Duration::from_secs(60), run(&node, &sudo)).await.unwrap().unwrap();
    assert_eq!((output.stdout.as_str(), output.exit), ("output\n", Some(0)));
    assert_eq!(began.elapsed(), Duration::from_secs(5));
}

/// The status completes the answer of a command that runs to its end, even if another process keeps the streams open.
#[tokio::test]
async fn the_status_is_the_end_of_an_answer() {
    let (node, sudo) = (node(SudoBehavior::HoldsOpen), sudo("right"));
    let answer = sudo.ask_to_the_end(&node, |sudo| format!("{sudo}service x start"), 4096);
    let answer = timeout(Duration::from_secs(30), answer).await.unwrap().unwrap();
    assert_eq!((answer.stdout.as_str(), answer.status), ("output\n", 0));
}

/// However many commands ask at the same time.
#[tokio::test]
async fn a_wrong_password_is_sent_once_to_a_node() {
    let (node, sudo) = (node(SudoBehavior::Asks), sudo("wrong"));
    let all = futures_util::future::join_all((0..8).map(|_| run(&node, &sudo)));
    for answer in all.await {
        assert_eq!(answer.unwrap_err(), ExecError::Sudo(SudoError::WrongPassword));
    }
    assert_eq!(enter(&node, &sudo).await.unwrap_err(), EnterError::Sudo(SudoError::WrongPassword));
    assert_eq!(written(&node), ["wrong\n"]);
}

/// The command was canceled before the password was accepted or rejected: it is not sent again.
#[tokio::test(start_paused = true)]
async fn an_answer_without_an_echo_is_not_repeated() {
    let (node, sudo) = (node(SudoBehavior::Asks), sudo("wrong"));
    let passage = SudoPrompt::new();
    let mut command = node.start(&format!("{}x", sudo.prefix(&passage))).await.unwrap();
    command.nature = SudoBehavior::AsksElse;
    command.prompt.clear();
    let entered = sudo.enter(&mut command, &passage, Duration::from_secs(30)).await;
    assert!(matches!(entered.unwrap_err(), EnterError::Sudo(SudoError::Silent(_))));
    assert_eq!(enter(&node, &sudo).await.unwrap_err(), EnterError::Sudo(SudoError::WrongPassword));
    assert_eq!(written(&node).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_question_is_not_answered() {
    let (node, sudo) = (node(SudoBehavior::AsksElse), sudo("right"));
    let question = SudoError::Question("Verification code:".to_owned());
    assert_eq!(run(&node, &sudo).await.unwrap_err(), ExecError::Sudo(question.clone()));
    assert_eq!(enter(&node, &sudo).await.unwrap_err(), EnterError::Sudo(question));
    assert!(written(&node).is_empty());
}

#[tokio::test]
async fn a_right_password_for_a_forbidden_command() {
    let (node, sudo) = (node(SudoBehavior::Forbids), sudo("right"));
    for _ in 0..2 {
        assert_eq!(enter(&node, &sudo).await.unwrap_err(), EnterError::Sudo(SudoError::NotAllowed));
    }
    assert_eq!(written(&node).len(), 2);
}

#[tokio::test]
async fn the_password_is_in_no_line_and_no_debug() {
    let sudo = sudo("right");
    let passage = SudoPrompt::new();
    for text in [sudo.prefix(&passage), format!("{sudo:?}"), format!("{passage:?}")] {
        assert!(!text.contains("right"), "{text}");
    }
    assert_eq!(Sudo::Plain.prefix(&passage), "env LANGUAGE=C sudo -n ");
    assert_eq!(Sudo::No.prefix(&passage), "");
    let plain = run(&node(SudoBehavior::Asks), &Sudo::Plain).await.unwrap();
    assert_eq!(SudoError::of_text(&plain.stderr), Some(SudoError::PasswordWanted));
}
