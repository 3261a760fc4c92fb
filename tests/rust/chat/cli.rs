//! `midplane chat`: a program that talks to the chat module as anybody could, at a terminal and without one.
//!
//! The model is the echo, which says the user's words again. The terminals are pseudo-terminals; util-linux's `setsid`
//! makes one the controlling terminal of what it starts.

use std::fs::File;
use std::io::{Read, Write as _};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::pty::{Winsize, openpty};
use serde_json::{Value, json};

use crate::harness::{Kernel, artifact, eventually};

const COLUMNS: u16 = 40;

#[tokio::test]
async fn what_is_piped_is_the_answer_to_the_byte() {
    let kernel = Kernel::start(&["chat"]).await;
    let words = "# Tea\n\n**strong** | `cup`\n\n\x1b[31mred\t\u{202e}x";
    for (arguments, piped, expected) in [
        (&["hello", "there"][..], "", "hello there\n"),
        (&[words], "", &format!("{words}\n")),
        (&["explain"], "a\nb\n", "explain\n\na\nb\n"),
        (&[], "piped\n\n", "piped\n"),
        (&["--plain", "*x*"], "", "*x*\n"),
    ] {
        let output = chat(&kernel, arguments, piped);
        assert!(output.status.success(), "{arguments:?} {output:?}");
        assert_eq!(text(&output.stdout), expected, "{arguments:?}");
    }
    let output = chat(&kernel, &["--json", "hi"], "");
    let events: Vec<Value> = lines(&output)
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events[0]["type"], "thread.created");
}

#[tokio::test]
async fn threads_are_gone_on_with_listed_shown_and_deleted() {
    let kernel = Kernel::start(&["chat"]).await;
    let output = chat(&kernel, &["--list"], "");
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
    let output = chat(&kernel, &["--continue", "hi"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("there is no thread yet"),
        "{output:?}"
    );

    chat(&kernel, &["first", "thread"], "");
    chat(&kernel, &["second", "thread"], "");
    chat(&kernel, &["--continue", "goes on"], "");
    let listed = lines(&chat(&kernel, &["--list"], ""));
    let rows: Vec<Vec<&str>> = listed
        .iter()
        .map(|line| line.split('\t').collect())
        .collect();
    assert_eq!(rows.len(), 2, "{listed:?}");
    assert_eq!(
        (rows[0].len(), rows[0][2], rows[1][2]),
        (3, "second thread", "first thread")
    );
    let first = rows[1][0];
    chat(&kernel, &["--thread", first, "goes on as well"], "");

    let one = lines(&chat(&kernel, &["--list", "--limit", "1", "--json"], ""));
    let newest: Value = serde_json::from_str(&one[0]).unwrap();
    assert_eq!((one.len(), &newest["id"]), (1, &json!(rows[0][0])));

    let shown = chat(&kernel, &["--show", "--thread", first], "");
    assert_eq!(
        text(&shown.stdout),
        "> first thread\n\nfirst thread\n\n> goes on as well\n\ngoes on as well\n"
    );
    let items = lines(&chat(
        &kernel,
        &["--show", "--json", "--thread", "last"],
        "",
    ));
    assert_eq!(items.len(), 4, "{items:?}");

    let output = chat(&kernel, &["--delete", first], "");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(lines(&chat(&kernel, &["--list"], "")).len(), 1);
    for arguments in [
        &["--delete", first][..],
        &["--thread", first, "hi"],
        &["--show", "--thread", first],
    ] {
        let output = chat(&kernel, arguments, "");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(
            text(&output.stderr).contains("midplane chat --list"),
            "{output:?}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_had_is_refused_in_the_words_of_whoever_refuses() {
    let kernel = Kernel::start(&["chat"]).await;
    let missing = kernel.dir.path().join("none.txt");
    let missing = missing.to_str().unwrap();
    let at_missing = format!("@{missing}");
    for (arguments, code, said) in [
        (&["--model", "huge", "hi"][..], 1, "huge"),
        (&["--attach", missing, "hi"], 1, "none.txt: No such file"),
        (
            &["--instructions", &at_missing, "hi"],
            1,
            "cannot read the instructions",
        ),
        (&["--show"], 64, "--thread ID"),
        (&["--attach", "-"], 64, "nothing to say"),
        (&["--list", "words"], 64, "cannot be used with"),
        (&["--sokcet", "x"], 64, "--socket"),
    ] {
        let output = chat(&kernel, arguments, "");
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {output:?}");
        assert!(
            text(&output.stderr).contains(said),
            "{arguments:?} {output:?}"
        );
        assert!(output.stdout.is_empty(), "{output:?}");
    }
    let nowhere = kernel.dir.path().join("nowhere.sock");
    let output = run(command(&["--socket", nowhere.to_str().unwrap(), "hi"]), "");
    assert_eq!(output.status.code(), Some(69), "{output:?}");
}

#[tokio::test]
async fn the_session_takes_what_it_is_told_of() {
    let kernel = Kernel::start(&["chat"]).await;
    let file = kernel.dir.path().join("tea.md");
    std::fs::write(&file, "Be brief.").unwrap();
    let at_file = format!("@{}", file.display());
    let output = chat(&kernel, &["--instructions", &at_file, "hi"], "");
    assert!(output.status.success(), "{output:?}");
    let page: Value = kernel.host("GET", "/sessions").send().await.json();
    let told = page["data"].as_array().unwrap().iter();
    let told: Vec<&Value> = told
        .map(|session| &session["metadata"]["instructions"])
        .collect();
    assert_eq!(told, [&json!("Be brief.")]);
}

#[tokio::test]
async fn files_go_with_the_message() {
    let kernel = Kernel::start(&["chat"]).await;
    let file = kernel.dir.path().join("tea.md");
    std::fs::write(&file, "# Tea").unwrap();
    let file = file.to_str().unwrap();
    let output = chat(
        &kernel,
        &["--attach", file, "--attach", "-", "look"],
        "piped bytes",
    );
    assert!(output.status.success(), "{output:?}");
    // The echo shows what a model reads of them.
    let said = text(&output.stdout);
    assert!(
        said.starts_with("look") && said.contains("# Tea") && said.contains("piped bytes"),
        "{said}"
    );
    let shown = chat(&kernel, &["--show", "--continue"], "");
    let quoted = "> look\n> [attached: tea.md]\n> [attached: stdin]\n\nlook";
    assert!(text(&shown.stdout).starts_with(quoted), "{shown:?}");
    let items = lines(&chat(&kernel, &["--show", "--continue", "--json"], ""));
    let message: Value = serde_json::from_str(&items[0]).unwrap();
    let session = kernel.session(json!({})).await;
    for (attachment, expected) in message["attachments"]
        .as_array()
        .unwrap()
        .iter()
        .zip(["# Tea", "piped bytes"])
    {
        let path = format!(
            "/api/chat/attachments/{}",
            attachment["id"].as_str().unwrap()
        );
        let answer = kernel.get(&path).bearer(&session).send().await;
        answer.expect_status(200);
        assert_eq!(answer.text(), expected);
    }
    // A file that the module does not take keeps the words back, too.
    let program = kernel.dir.path().join("program");
    std::fs::write(&program, [0_u8, 159, 146, 150]).unwrap();
    let output = chat(&kernel, &["--attach", program.to_str().unwrap(), "run"], "");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        text(&output.stderr).starts_with("midplane-chat: "),
        "{output:?}"
    );
    assert_eq!(lines(&chat(&kernel, &["--list"], "")).len(), 1);
}

#[tokio::test]
async fn models_are_those_of_the_gateway() {
    let kernel = Kernel::start(&["chat"]).await;
    let session = kernel.session(json!({})).await;
    let answer = kernel
        .get("/api/chat/v1/models")
        .bearer(&session)
        .send()
        .await;
    let output = chat(&kernel, &["--models"], "");
    if answer.status() == 404 {
        assert_eq!(output.status.code(), Some(1));
        assert!(
            text(&output.stderr).contains("lists no models"),
            "{output:?}"
        );
    } else {
        let listed: Value = answer.json();
        let ids = listed["data"].as_array().unwrap().iter();
        let ids: Vec<&str> = ids.map(|model| model["id"].as_str().unwrap()).collect();
        assert!(!ids.is_empty());
        assert_eq!(lines(&output), ids);
    }
}

#[tokio::test]
async fn a_terminal_gets_markdown_and_nothing_that_acts_on_it() {
    let kernel = Kernel::start(&["chat"]).await;
    let words = "# Tea\n\nA **strong** one in a line that is longer than this.\n\n- [x] done\n\n\x1b]0;owned\x07&#27;[2J[a](http://b)";
    let chat = Terminal::start(&kernel, &[words]);
    let said = chat.ends_well().await;
    for shown in [
        "\x1b[0;1;4mTea\x1b[0m\r\n\r\n",
        "A \x1b[0;1mstrong\x1b[0m one in a line that is longer\r\n",
        "than this.\r\n\r\n☑ done\r\n\r\n]0;owned[2J",
        "\x1b[0;4ma\x1b[0m\x1b[0;2m (http://b)\x1b[0m\r\n",
    ] {
        assert!(
            last_of_lines(&said).contains(shown),
            "{shown:?} in {said:?}"
        );
    }
    for acting in ["\x1b]", "\x1b[2J", "\x07"] {
        assert!(!said.contains(acting), "{acting:?} in {said:?}");
    }
    // As the model wrote it, for who wants that; without colours, for who wants that.
    let said = Terminal::start(&kernel, &["--plain", "**strong** \x1b]0;x"])
        .ends_well()
        .await;
    assert!(
        said.contains("**strong** ]0;x\r\n") && !said.contains("\x1b]"),
        "{said:?}"
    );
    let mut command = command_for(&kernel, &["`code` **strong**"]);
    command.env("NO_COLOR", "1");
    let said = Terminal::of(command).ends_well().await;
    assert!(said.contains("code \x1b[0;1mstrong\x1b[0m"), "{said:?}");
}

#[tokio::test]
async fn a_dialogue_is_led_at_the_prompt() {
    let kernel = Kernel::start(&["chat"]).await;
    let chat = Terminal::start(&kernel, &[]);
    chat.says("/help lists the commands").await;
    chat.types("good *morning*\r");
    chat.says("good \x1b[0;3mmorning\x1b[0m").await;
    for (line, answer) in [
        ("/title A cup of tea", "the thread is named A cup of tea"),
        ("/threads", "*  1  "),
        ("/new", "begins another thread"),
        ("/open 1", "> good *morning*"),
        ("/model huge", "asks huge"),
        ("and you?", "not among"),
        ("/attach /nowhere", "cannot attach /nowhere"),
        ("/nonsense", "no such command"),
    ] {
        chat.types(&format!("{line}\r"));
        chat.says(answer).await;
    }
    chat.types("\u{4}");
    chat.ends_well().await;

    // Another time it begins with what was said.
    let chat = Terminal::start(&kernel, &["--continue"]);
    chat.says("A cup of tea").await;
    chat.says("> good *morning*").await;
    chat.types("/quit\r");
    chat.ends_well().await;
}

#[tokio::test]
async fn ctrl_c_stops_the_turn_and_then_leaves() {
    let kernel = Kernel::builder()
        .module("chat", "config = { echo_delay = \"50ms\" }")
        .start()
        .await;
    let many = "word ".repeat(2000);
    let chat = Terminal::start(&kernel, &[&many]);
    chat.says("word word").await;
    chat.types("\u{3}");
    chat.says("stopped").await;
    assert_eq!(chat.wait().await, Some(130));
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(artifact("chat").with_file_name("midplane"));
    command.arg("chat").args(arguments);
    for variable in [
        "MIDPLANE_SOCKET",
        "MIDPLANE_HOST_KEY",
        "MIDPLANE_SECRET_KEY_ID",
        "NO_COLOR",
        "CLICOLOR",
    ] {
        command.env_remove(variable);
    }
    command
}

fn command_for(kernel: &Kernel, arguments: &[&str]) -> Command {
    let mut all = vec!["--socket", kernel.socket.to_str().unwrap()];
    all.extend(arguments);
    command(&all)
}

/// `midplane chat` without a terminal, to its end.
fn chat(kernel: &Kernel, arguments: &[&str], piped: &str) -> Output {
    run(command_for(kernel, arguments), piped)
}

fn run(mut command: Command, piped: &str) -> Output {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may not read what it does not need.
    let _ = child.stdin.take().unwrap().write_all(piped.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn lines(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout).lines().map(str::to_owned).collect()
}

/// What stays of lines that are written again in place.
fn last_of_lines(said: &str) -> String {
    let lines = said.split("\r\n");
    let last = lines.map(|line| line.rsplit("\r\x1b[K").next().unwrap_or_default());
    last.collect::<Vec<_>>().join("\r\n")
}

/// `midplane chat` at a terminal of its own; dropping it ends it.
struct Terminal {
    child: Mutex<Child>,
    terminal: File,
    said: Arc<Mutex<Vec<u8>>>,
    reading: Option<JoinHandle<()>>,
}

impl Terminal {
    fn start(kernel: &Kernel, arguments: &[&str]) -> Terminal {
        Terminal::of(command_for(kernel, arguments))
    }

    fn of(command: Command) -> Terminal {
        let size = Winsize {
            ws_row: 24,
            ws_col: COLUMNS,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        let mut session = Command::new("setsid");
        session
            .args(["--wait", "--ctty"])
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => session.env(name, value),
                None => session.env_remove(name),
            };
        }
        session.env("TERM", "xterm-256color");
        session
            .stdin(pty.slave.try_clone().unwrap())
            .stdout(pty.slave.try_clone().unwrap())
            .stderr(pty.slave);
        let child = Mutex::new(session.spawn().unwrap());
        let terminal = File::from(pty.master);
        let said = Arc::default();
        let reading = collect(terminal.try_clone().unwrap(), &said);
        let reading = Some(reading);
        Terminal {
            child,
            terminal,
            said,
            reading,
        }
    }

    fn types(&self, text: &str) {
        (&self.terminal).write_all(text.as_bytes()).unwrap();
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().unwrap()).into_owned()
    }

    /// Waits until the terminal shows it.
    async fn says(&self, text: &str) {
        eventually(&format!("{text:?}"), async || {
            self.said().contains(text).then_some(())
        })
        .await;
    }

    async fn wait(&self) -> Option<i32> {
        let status = eventually("the end of `midplane chat`", async || {
            self.child.lock().unwrap().try_wait().unwrap()
        })
        .await;
        status.code()
    }

    /// Waits until it has ended well, and returns all that it said.
    async fn ends_well(mut self) -> String {
        assert_eq!(self.wait().await, Some(0), "{}", self.said());
        self.reading.take().unwrap().join().unwrap();
        self.said()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        // It may have ended.
        let _ = child.kill();
        let _ = child.wait();
        if std::thread::panicking() {
            eprintln!("--- the terminal of midplane chat ---\n{:?}", self.said());
        }
    }
}

/// Reads to the end; of a terminal whose other side is closed, that is an error.
fn collect(mut from: impl Read + Send + 'static, said: &Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            said.lock().unwrap().extend_from_slice(&chunk[..length]);
        }
    })
}
