use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use midplane_abi::metric as abi;
use serde_json::Map;

use super::limits::{METRICS_MAX, SERIES_MAX, SESSION_SERIES_MAX};
use super::module::{Declaration, Found};
use super::*;
use crate::clock::unix_now;
use crate::config;
use crate::session::{NewSession, Session};

const GENERATION: u64 = 1;

struct Scene {
    metrics: Metrics,
    sessions: Arc<Sessions>,
}

impl Scene {
    fn new() -> Scene {
        let settings = config::Sessions {
            ttl: Duration::from_secs(600),
            max_ttl: Duration::from_secs(3600),
            max: 10_000,
            stream_grace: Duration::from_secs(300),
            host_grace: Duration::from_secs(30),
        };
        let sessions = Arc::new(Sessions::new(settings, "test".to_owned()).unwrap());
        Scene {
            metrics: Metrics::new(Arc::clone(&sessions), ["midplane_module_poll_seconds"]),
            sessions,
        }
    }

    fn session(&self, module: &str) -> Arc<Session> {
        let new = NewSession {
            user: "ada".to_owned(),
            modules: vec![module.to_owned()],
            scope: String::new(),
            environment: "pro".to_owned(),
            secret_key_id: None,
            metadata: Map::new(),
            rate_limit: None,
            expires_in: 600,
        };
        let now = unix_now();
        let session = Arc::new(Session::new(Session::new_id().unwrap(), new, None, now));
        self.sessions.issue(&session, now).unwrap();
        session
    }

    /// The samples that are shown of `module`, by name and labels.
    fn shown(&self, module: &str, generation: u64) -> BTreeMap<String, f64> {
        let mut all = Exposition::default();
        let running = [(Arc::from(module), generation)];
        self.metrics.write(&mut all, &running, unix_now());
        let text = all.finish();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|line| {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                (sample.to_owned(), value.parse().unwrap())
            })
            .collect()
    }
}

fn declaration(kind: u32, name: &str) -> Declaration<'_> {
    Declaration {
        kind,
        name: name.as_bytes(),
        help: b"Help",
        bounds: &[],
    }
}

fn counter(module: &ModuleMetrics, generation: u64, name: &str) -> u64 {
    let declared = module.declare(generation, &declaration(abi::COUNTER, name));
    declared.unwrap()
}

fn series(
    module: &ModuleMetrics,
    metric: u64,
    labels: &[(&str, &str)],
    session: Option<&str>,
) -> Result<Found, Refusal> {
    let labels = labels
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    module.series(metric, labels, session.map(str::as_bytes))
}

fn add(
    module: &ModuleMetrics,
    metric: u64,
    labels: &[(&str, &str)],
    session: Option<&str>,
    n: i64,
) {
    let found = series(module, metric, labels, session).unwrap();
    assert_eq!(find(found.handle, |series| series.add(n)), Some(true));
}

#[test]
fn counters_go_on_over_generations_and_gauges_do_not() {
    let scene = Scene::new();
    let chat = scene.metrics.of("chat");
    for generation in [1, 2] {
        let tokens = counter(&chat, generation, "tokens");
        add(&chat, tokens, &[("kind", "input")], None, 5);
        let open = chat.declare(generation, &declaration(abi::GAUGE, "open"));
        add(&chat, open.unwrap(), &[], None, 3);
    }
    let expect = |open: f64| {
        BTreeMap::from([
            (
                "midplane_module_metrics_dropped_total{module=\"chat\"}".to_owned(),
                0.0,
            ),
            (
                "midplane_module_chat_tokens_total{module=\"chat\",kind=\"input\"}".to_owned(),
                10.0,
            ),
            (
                "midplane_module_chat_open{module=\"chat\"}".to_owned(),
                open,
            ),
        ])
    };
    assert_eq!(scene.shown("chat", 2), expect(3.0));
    chat.forget_generation(1);
    assert_eq!(scene.shown("chat", 2), expect(3.0));
    scene.metrics.forget("chat");
    assert!(scene.shown("chat", 2).is_empty());
    // What is left of it counts for nobody.
    assert_eq!(
        chat.declare(2, &declaration(abi::COUNTER, "tokens")),
        Err(Refusal::Gone)
    );
}

#[test]
fn a_metric_that_becomes_another_kind_begins_anew_with_its_generation() {
    let scene = Scene::new();
    let chat = scene.metrics.of("chat");
    let tokens = counter(&chat, 1, "tokens");
    add(&chat, tokens, &[], None, 5);
    assert_eq!(
        chat.declare(1, &declaration(abi::GAUGE, "tokens")),
        Err(Refusal::Differs)
    );
    let gauge = chat.declare(2, &declaration(abi::GAUGE, "tokens")).unwrap();
    add(&chat, gauge, &[], None, 7);
    let total = "midplane_module_chat_tokens_total{module=\"chat\"}";
    let now = "midplane_module_chat_tokens{module=\"chat\"}";
    // As long as the older generation runs, its own.
    assert_eq!(scene.shown("chat", 1).get(total), Some(&5.0));
    assert_eq!(scene.shown("chat", 2).get(now), Some(&7.0));
    assert_eq!(scene.shown("chat", 2).get(total), None);
    // The newer was refused after all.
    chat.forget_generation(2);
    assert_eq!(scene.shown("chat", 1).get(total), Some(&5.0));
    let gauge = chat.declare(3, &declaration(abi::GAUGE, "tokens")).unwrap();
    add(&chat, gauge, &[], None, 1);
    chat.forget_generation(1);
    assert_eq!(
        series(&chat, tokens, &[], None).map(drop),
        Err(Refusal::Gone)
    );
    assert_eq!(scene.shown("chat", 3).get(now), Some(&1.0));
}

#[test]
fn a_share_vanishes_with_its_session_and_the_total_stays() {
    let scene = Scene::new();
    let chat = scene.metrics.of("chat");
    let tokens = counter(&chat, GENERATION, "tokens");
    let session = scene.session("chat");
    add(&chat, tokens, &[("kind", "input")], None, 1);
    add(&chat, tokens, &[("kind", "input")], Some(session.id()), 12);
    let kept = series(&chat, tokens, &[("kind", "input")], Some(session.id())).unwrap();
    let total = "midplane_module_chat_tokens_total{module=\"chat\",kind=\"input\"}";
    let share = format!(
        "midplane_module_chat_tokens_by_session_total{{module=\"chat\",session=\"{}\",kind=\"input\"}}",
        session.id()
    );
    let shown = scene.shown("chat", GENERATION);
    assert_eq!(
        (shown.get(total), shown.get(&share)),
        (Some(&13.0), Some(&12.0))
    );
    scene.sessions.revoke(session.id(), unix_now());
    let shown = scene.shown("chat", GENERATION);
    assert_eq!((shown.get(total), shown.get(&share)), (Some(&13.0), None));
    assert_eq!(find(kept.handle, |series| series.add(1)), None);
    // What its streams still count is counted, and dropped is nothing.
    add(&chat, tokens, &[("kind", "input")], Some(session.id()), 2);
    let shown = scene.shown("chat", GENERATION);
    assert_eq!((shown.get(total), shown.get(&share)), (Some(&15.0), None));
    assert_eq!(chat.dropped(), 0);
}

#[test]
fn a_session_that_is_not_the_modules_has_no_share() {
    let scene = Scene::new();
    let chat = scene.metrics.of("chat");
    let tokens = counter(&chat, GENERATION, "tokens");
    let other = scene.session("store");
    for session in [other.id(), "ses_invented", "", "\n"] {
        add(&chat, tokens, &[], Some(session), 1);
    }
    let shown = scene.shown("chat", GENERATION);
    assert_eq!(
        shown.get("midplane_module_chat_tokens_total{module=\"chat\"}"),
        Some(&4.0)
    );
    assert!(
        !shown.keys().any(|sample| sample.contains("session")),
        "{shown:?}"
    );
    let not_text = chat.series(tokens, std::iter::empty(), Some(b"\xff"));
    assert_eq!(not_text.map(drop), Err(Refusal::Labels));
    let gauge = chat
        .declare(GENERATION, &declaration(abi::GAUGE, "open"))
        .unwrap();
    let for_session = series(&chat, gauge, &[], Some(scene.session("chat").id()));
    assert_eq!(for_session.map(drop), Err(Refusal::Labels));
}

#[test]
fn what_is_over_a_limit_is_dropped_and_counted() {
    let scene = Scene::new();
    let chat = scene.metrics.of("chat");
    let tokens = counter(&chat, GENERATION, "tokens");
    for number in 0..SERIES_MAX {
        add(&chat, tokens, &[("n", &number.to_string())], None, 1);
    }
    assert_eq!(chat.dropped(), 0);
    let found = series(&chat, tokens, &[("n", "more")], None).unwrap();
    assert!(found.full);
    for value in [5, 7] {
        assert_eq!(find(found.handle, |series| series.add(value)), Some(true));
    }
    assert_eq!(chat.dropped(), 2);
    assert_eq!(scene.shown("chat", GENERATION).len(), SERIES_MAX + 1);

    for number in 1..METRICS_MAX {
        counter(&chat, GENERATION, &format!("m{number}"));
    }
    let more = chat.declare(GENERATION, &declaration(abi::COUNTER, "more"));
    assert_eq!(more, Err(Refusal::TooManyMetrics));
    assert_eq!(chat.dropped(), 3);
    // One that is there can be declared again.
    assert_eq!(counter(&chat, 2, "tokens"), tokens);
}

#[test]
fn sessions_that_have_ended_make_room_for_others() {
    let scene = Scene::new();
    let chat = scene.metrics.of("chat");
    let tokens = counter(&chat, GENERATION, "tokens");
    let sessions: Vec<_> = (0..SESSION_SERIES_MAX)
        .map(|_| scene.session("chat"))
        .collect();
    for session in &sessions {
        add(&chat, tokens, &[], Some(session.id()), 1);
    }
    let late = scene.session("chat");
    add(&chat, tokens, &[], Some(late.id()), 1);
    assert_eq!(chat.dropped(), 1);
    let total = "midplane_module_chat_tokens_total{module=\"chat\"}";
    let all = SESSION_SERIES_MAX as f64 + 1.0;
    assert_eq!(scene.shown("chat", GENERATION).get(total), Some(&all));
    scene.sessions.revoke(sessions[0].id(), unix_now());
    add(&chat, tokens, &[], Some(late.id()), 1);
    assert_eq!(chat.dropped(), 1);
    let shown = scene.shown("chat", GENERATION);
    assert!(shown.keys().any(|sample| sample.contains(late.id())));
}

#[test]
fn a_name_belongs_to_one_module() {
    let scene = Scene::new();
    let (one, other) = (scene.metrics.of("a"), scene.metrics.of("a-b"));
    counter(&one, GENERATION, "b_tokens");
    let taken = other.declare(GENERATION, &declaration(abi::COUNTER, "tokens"));
    assert_eq!(taken, Err(Refusal::Taken));
    let poll = scene.metrics.of("poll");
    let kernels = poll.declare(GENERATION, &declaration(abi::GAUGE, "seconds"));
    assert_eq!(kernels, Err(Refusal::Taken));
    scene.metrics.forget("a");
    counter(&other, GENERATION, "tokens");
}

#[test]
fn each_kind_takes_its_own_and_nothing_else() {
    let scene = Scene::new();
    let chat = scene.metrics.of("chat");
    let declare = |kind, name, bounds: &[f64]| {
        let declaration = Declaration {
            bounds,
            ..declaration(kind, name)
        };
        let metric = chat.declare(GENERATION, &declaration)?;
        series(&chat, metric, &[], None).map(|found| found.handle)
    };
    let counter = declare(abi::COUNTER, "c", &[]).unwrap();
    let gauge = declare(abi::GAUGE, "g", &[]).unwrap();
    let histogram = declare(abi::HISTOGRAM, "h", &[0.1, 1.0]).unwrap();
    for (handle, added, subtracted, set, observed) in [
        (counter, true, false, false, false),
        (gauge, true, true, true, false),
        (histogram, false, false, false, true),
    ] {
        assert_eq!(find(handle, |series| series.add(3)), Some(added));
        assert_eq!(find(handle, |series| series.add(-1)), Some(subtracted));
        assert_eq!(find(handle, |series| series.set(2.5)), Some(set));
        assert_eq!(find(handle, |series| series.set(f64::NAN)), Some(false));
        assert_eq!(find(handle, |series| series.observe(0.1)), Some(observed));
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(find(handle, |series| series.observe(bad)), Some(false));
        }
    }
    find(histogram, |series| series.observe(7.0));
    let shown = scene.shown("chat", GENERATION);
    for (sample, value) in [
        ("c_total{module=\"chat\"}", 3.0),
        ("g{module=\"chat\"}", 2.5),
        ("h_bucket{module=\"chat\",le=\"0.1\"}", 1.0),
        ("h_bucket{module=\"chat\",le=\"1.0\"}", 1.0),
        ("h_bucket{module=\"chat\",le=\"+Inf\"}", 2.0),
        ("h_count{module=\"chat\"}", 2.0),
        ("h_sum{module=\"chat\"}", 7.1),
    ] {
        let sample = format!("midplane_module_chat_{sample}");
        assert_eq!(shown.get(&sample), Some(&value), "{sample}");
    }
    assert_eq!(declare(abi::HISTOGRAM, "none", &[]), Err(Refusal::Bounds));
    assert_eq!(declare(abi::COUNTER, "some", &[1.0]), Err(Refusal::Bounds));
    assert_eq!(declare(0, "x", &[]), Err(Refusal::Kind));
    assert_eq!(declare(4, "x", &[]), Err(Refusal::Kind));
}

#[test]
fn a_counter_stays_at_its_highest() {
    let scene = Scene::new();
    let chat = scene.metrics.of("chat");
    let tokens = counter(&chat, GENERATION, "tokens");
    for _ in 0..3 {
        add(&chat, tokens, &[], None, i64::MAX);
    }
    let shown = scene.shown("chat", GENERATION);
    let total = "midplane_module_chat_tokens_total{module=\"chat\"}";
    assert_eq!(shown.get(total), Some(&(u64::MAX as f64)));
}

/// What is counted in a process of its own, and the kernel's side of it.
struct Apart {
    scene: Scene,
    here: Arc<ModuleMetrics>,
    there: ModuleMetrics,
    changed: Arc<Changed>,
}

impl Apart {
    fn new() -> Apart {
        let (scene, changed) = (Scene::new(), Arc::<Changed>::default());
        Apart {
            here: scene.metrics.of("chat"),
            there: ModuleMetrics::apart("chat".into(), Arc::clone(&changed)),
            scene,
            changed,
        }
    }

    /// As it goes over the lane, in messages of two series.
    fn pass_on(&self) -> usize {
        self.changed.look();
        let messages = self.there.take_changes(2);
        for changes in &messages {
            let frame = postcard::to_stdvec(changes).unwrap();
            let changes: Changes = postcard::from_bytes(&frame).unwrap();
            self.here.take(GENERATION, false, &changes);
        }
        messages.len()
    }

    fn shown(&self) -> BTreeMap<String, f64> {
        let mut shown = self.scene.shown("chat", GENERATION);
        shown.remove("midplane_module_metrics_dropped_total{module=\"chat\"}");
        shown
    }
}

#[test]
fn a_module_process_tells_what_has_changed_and_nothing_twice() {
    let apart = Apart::new();
    let session = apart.scene.session("chat");
    let tokens = counter(&apart.there, GENERATION, "tokens");
    let declaration = Declaration {
        bounds: &[1.0],
        ..declaration(abi::HISTOGRAM, "seconds")
    };
    let seconds = apart.there.declare(GENERATION, &declaration).unwrap();
    let seconds = series(&apart.there, seconds, &[], None).unwrap();
    let input = [("kind", "in\"put\n")];
    for round in 1..=3 {
        add(&apart.there, tokens, &input, None, 1);
        add(&apart.there, tokens, &input, Some(session.id()), 10);
        find(seconds.handle, |series| series.observe(0.5));
        assert!(apart.pass_on() > 0);
        assert_eq!(apart.pass_on(), 0);
        let round = f64::from(round);
        let session = session.id();
        let expect = BTreeMap::from(
            [
                ("seconds_bucket{module=\"chat\",le=\"1.0\"}".to_owned(), round),
                ("seconds_bucket{module=\"chat\",le=\"+Inf\"}".to_owned(), round),
                ("seconds_count{module=\"chat\"}".to_owned(), round),
                ("seconds_sum{module=\"chat\"}".to_owned(), round * 0.5),
                (r#"tokens_total{module="chat",kind="in\"put\n"}"#.to_owned(), round * 11.0),
                (
                    format!(r#"tokens_by_session_total{{module="chat",session="{session}",kind="in\"put\n"}}"#),
                    round * 10.0,
                ),
            ]
            .map(|(sample, value)| (format!("midplane_module_chat_{sample}"), value)),
        );
        assert_eq!(apart.shown(), expect);
    }
}

#[test]
fn a_module_process_cannot_count_past_the_limits() {
    let apart = Apart::new();
    let tokens = counter(&apart.there, GENERATION, "tokens");
    for number in 0..SERIES_MAX + 3 {
        let found = series(&apart.there, tokens, &[("n", &number.to_string())], None).unwrap();
        find(found.handle, |series| series.add(1));
    }
    apart.pass_on();
    assert_eq!(apart.shown().len(), SERIES_MAX);
    assert_eq!(apart.here.dropped(), 3);
    // Nor by what it says, were it not ours.
    let claim = |name: &str, kind, labels: &[(&str, &str)], amount| Changes {
        metrics: vec![changes::MetricChange {
            kind,
            name: name.to_owned(),
            help: String::new(),
            bounds: Vec::new(),
            series: vec![changes::SeriesChange {
                labels: labels
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
                session: None,
                amount,
            }],
        }],
        ..Changes::default()
    };
    let before = apart.shown();
    let wide = changes::Amount::Histogram {
        buckets: vec![1; 40],
        sum: f64::NAN,
    };
    for (number, changes) in [
        claim(
            "tokens",
            abi::COUNTER,
            &[("n", "one more")],
            changes::Amount::Count(1),
        ),
        claim("tokens", abi::COUNTER, &[("n", "0")], wide),
        claim(
            "tokens",
            abi::COUNTER,
            &[("n", "0")],
            changes::Amount::Gauge(1.0),
        ),
        claim("tokens", abi::GAUGE, &[], changes::Amount::Gauge(1.0)),
        claim("a b", abi::COUNTER, &[], changes::Amount::Count(1)),
        claim("b", abi::COUNTER, &[("x y", "")], changes::Amount::Count(1)),
        claim("c", 9, &[], changes::Amount::Count(1)),
    ]
    .iter()
    .enumerate()
    {
        apart.here.take(GENERATION, false, changes);
        assert_eq!(apart.shown(), before, "{number}");
        assert_eq!(apart.here.dropped(), 4 + number as u64, "{number}");
    }
}

#[test]
fn gauges_of_a_process_that_is_over_are_nobodys() {
    let apart = Apart::new();
    let open = apart
        .there
        .declare(GENERATION, &declaration(abi::GAUGE, "open"));
    add(&apart.there, open.unwrap(), &[], None, 3);
    let tokens = counter(&apart.there, GENERATION, "tokens");
    add(&apart.there, tokens, &[], None, 3);
    for changes in apart.there.take_changes(10) {
        apart.here.take(GENERATION, true, &changes);
    }
    let shown: Vec<_> = apart.shown().into_keys().collect();
    assert_eq!(
        shown,
        ["midplane_module_chat_tokens_total{module=\"chat\"}"]
    );
}

#[test]
fn adding_from_many_threads_loses_nothing() {
    let apart = Apart::new();
    let session = apart.scene.session("chat");
    let tokens = counter(&apart.there, GENERATION, "tokens");
    let kept = series(&apart.there, tokens, &[], None).unwrap().handle;
    const EACH: i64 = 2_000;
    std::thread::scope(|scope| {
        let adding: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        find(kept, |series| series.add(1));
                        // A share may leave between the two, and is then asked for again.
                        loop {
                            let found = series(&apart.there, tokens, &[], Some(session.id()));
                            let handle = found.unwrap().handle;
                            if find(handle, |series| series.add(1)) == Some(true) {
                                break;
                            }
                        }
                    }
                })
            })
            .collect();
        while adding.iter().any(|thread| !thread.is_finished()) {
            apart.pass_on();
        }
    });
    apart.pass_on();
    apart.pass_on();
    let shown = apart.shown();
    let total = "midplane_module_chat_tokens_total{module=\"chat\"}";
    assert_eq!(shown.get(total), Some(&((8 * EACH) as f64)));
}
