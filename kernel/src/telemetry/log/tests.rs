use super::*;
use std::sync::{Mutex, mpsc};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written while `work` runs; dropping the guard waits for the writer.
fn captured(format: LogFormat, filter: &str, work: impl FnOnce(&LogHandle)) -> String {
    let output = Captured::default();
    let (layer, logging) = build(format, false, &filter.parse().unwrap(), 100, output.clone());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        work(&logging.handle);
    });
    drop(logging);
    String::from_utf8(output.0.lock().unwrap().clone()).unwrap()
}

fn line(level: Level, target: &'static str) -> ModuleLine<'static> {
    ModuleLine {
        module: "hello",
        generation: 3,
        request_id: Some("req_1"),
        session: Some("ses_1"),
        level,
        target,
        message: "said",
        fields: Some(r#"{"n":1}"#),
    }
}

#[test]
fn kernel_events() {
    let text = captured(LogFormat::Human, "info,kernel::telemetry=debug", |_| {
        tracing::debug!(request_id = "req_9", took_us = 7, "answered");
        tracing::trace!("unwanted");
    });
    assert!(
        text.ends_with(
            " DEBUG kernel::telemetry::log::tests{request_id=req_9}: answered took_us=7\n"
        ),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn module_lines() {
    let text = captured(LogFormat::Json, "warn,hello::inner=debug", |log| {
        log.line(line(Level::DEBUG, "midplane_hello::inner"));
        log.line(line(Level::INFO, "midplane_hello"));
        log.line(ModuleLine {
            fields: Some("not json"),
            ..line(Level::ERROR, "")
        });
    });
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0]["target"], "hello::inner");
    assert_eq!(lines[0]["generation"], 3);
    assert_eq!(lines[0]["session"], "ses_1");
    assert_eq!(lines[0]["fields"]["n"], 1);
    assert_eq!(lines[1]["target"], "hello");
    assert_eq!(lines[1]["fields"]["unparsed"], "not json");
}

#[test]
fn the_filter_changes_while_it_runs() {
    let text = captured(LogFormat::Human, "off", |log| {
        let say = |n: u32| tracing::info!(n, "event");
        say(1);
        assert_eq!(log.max_level("hello"), level::ERROR + 1);
        log.set_filter("info,hello::inner=trace".parse().unwrap());
        say(2);
        assert_eq!(log.max_level("hello"), level::TRACE);
        assert_eq!(log.max_level("other"), level::INFO);
        assert_eq!(log.filter().to_string(), "info,hello::inner=trace");
        log.set_filter("error".parse().unwrap());
        say(3);
    });
    assert!(
        text.contains("n=2") && !text.contains("n=1") && !text.contains("n=3"),
        "{text}"
    );
}

/// Blocks each write until it is let through.
struct Gate(mpsc::Receiver<()>, mpsc::Sender<()>, Captured);

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.1.send(());
        let _ = self.0.recv();
        self.2.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stuck_reader_costs_lines_and_is_told_later() {
    let output = Captured::default();
    let (open, gate) = mpsc::channel();
    let (entered, writing) = mpsc::channel();
    let (_layer, logging) = build(
        LogFormat::Human,
        false,
        &"info".parse().unwrap(),
        2,
        Gate(gate, entered, output.clone()),
    );
    let log = &logging.handle;
    let deadline = std::time::Duration::from_secs(10);
    log.line(line(Level::INFO, ""));
    writing.recv_timeout(deadline).unwrap();
    // one is being written and two wait: seven of these have no place
    for _ in 0..9 {
        log.line(line(Level::INFO, ""));
    }
    assert_eq!(log.dropped_lines(), 7);
    open.send(()).unwrap();
    open.send(()).unwrap();
    open.send(()).unwrap();
    writing.recv_timeout(deadline).unwrap();
    writing.recv_timeout(deadline).unwrap();
    // the queue is empty again
    log.line(line(Level::INFO, ""));
    drop(open);
    drop(logging);
    let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
    assert!(
        text.contains("log lines were dropped") && text.contains("lines=7"),
        "{text}"
    );
}

#[test]
fn long_text_is_cut_between_characters() {
    let long = "é".repeat(TEXT_BYTES_MAX);
    assert_eq!(cut(&long).len(), TEXT_BYTES_MAX);
    let odd = format!("x{long}");
    assert_eq!(cut(&odd).len(), TEXT_BYTES_MAX - 1);
    assert_eq!(cut("short"), "short");
}
