use std::time::UNIX_EPOCH;

use serde_json::json;

use super::*;
use crate::mock::{Answer, Kernel};

const LONG_S: u64 = 600;
const PLAIN: Look = Look {
    out_is_terminal: false,
    out_moves: false,
    out_colours: false,
    err_moves: false,
    err_colours: false,
    raw: false,
};

/// What is printed for the question, and what was asked of the chat module for it.
async fn answered(
    inquiry: Inquiry,
    look: Look,
    script: Vec<Answer>,
) -> (Result<(), Failure>, String, Vec<Value>) {
    let kernel = Kernel::start(LONG_S, script);
    let mut terminal = Terminal::new(Vec::new(), Vec::new(), look);
    let mut conversation = kernel.conversation(None);
    let now = humantime::parse_rfc3339("2026-01-02T00:00:00Z").unwrap_or(UNIX_EPOCH);
    let done = answer(&inquiry, now, look, conversation.server(), &mut terminal).await;
    let out = terminal.written().0.to_owned();
    (done, out, kernel.chat_requests())
}

fn thread(id: &str, title: Option<&str>) -> Value {
    json!({"id": id, "title": title, "created_at": "2026-01-01T23:55:00Z", "items": {"data": []}})
}

fn two_pages() -> Vec<Answer> {
    vec![
        Answer::Json(
            200,
            json!({"data": [thread("thr_3", Some("Tea\n\u{1b}[2Jtime")), thread("thr_2", None)],
                   "has_more": true, "after": "thr_2"}),
        ),
        Answer::Json(
            200,
            json!({"data": [thread("thr_1", Some("Cake"))], "has_more": false}),
        ),
    ]
}

#[tokio::test(flavor = "current_thread")]
async fn all_threads_are_listed_page_by_page() {
    let all = || Inquiry::List { limit: None };
    let (done, out, requests) = answered(all(), PLAIN, two_pages()).await;
    done.unwrap();
    assert_eq!(
        out,
        "thr_3\t2026-01-01T23:55:00Z\tTea [2Jtime\nthr_2\t2026-01-01T23:55:00Z\t\nthr_1\t2026-01-01T23:55:00Z\tCake\n"
    );
    let params: Vec<&Value> = requests.iter().map(|request| &request["params"]).collect();
    assert_eq!(
        params,
        [
            &json!({"order": "desc", "limit": 100}),
            &json!({"order": "desc", "limit": 100, "after": "thr_2"})
        ]
    );

    let terminal = Look {
        out_is_terminal: true,
        ..PLAIN
    };
    let (_, out, _) = answered(all(), terminal, two_pages()).await;
    assert_eq!(
        out,
        "thr_3  5 minutes ago   Tea [2Jtime\nthr_2  5 minutes ago\nthr_1  5 minutes ago   Cake\n"
    );

    let raw = Look { raw: true, ..PLAIN };
    let (_, out, _) = answered(all(), raw, two_pages()).await;
    let lines: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[2], thread("thr_1", Some("Cake")));
}

#[tokio::test(flavor = "current_thread")]
async fn no_more_threads_are_listed_than_asked_for() {
    for (limit, lines, limits) in [
        (0, 0, &[][..]),
        (1, 1, &[1]),
        (2, 2, &[2]),
        (3, 3, &[3, 1]),
        (200, 3, &[100, 100]),
    ] {
        let (done, out, requests) =
            answered(Inquiry::List { limit: Some(limit) }, PLAIN, two_pages()).await;
        done.unwrap();
        assert_eq!(out.lines().count(), lines, "{limit}");
        let asked: Vec<i64> = requests
            .iter()
            .filter_map(|request| request["params"]["limit"].as_i64())
            .collect();
        assert_eq!(asked, limits, "{limit}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_server_whose_pages_never_end_is_not_asked_for_ever() {
    for page in [
        json!({"data": [], "has_more": true, "after": "thr_1"}),
        json!({"data": [thread("thr_1", None)], "has_more": true}),
    ] {
        let (done, _, requests) = answered(
            Inquiry::List { limit: None },
            PLAIN,
            vec![Answer::Json(200, page)],
        )
        .await;
        done.unwrap();
        assert_eq!(requests.len(), 1);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_thread_is_shown_from_its_beginning() {
    let item =
        |kind: &str, text: &str| json!({"id": "x", "type": kind, "content": [{"text": text}]});
    let script = || {
        vec![
            Answer::Json(
                200,
                json!({"data": [thread("thr_9", None)], "has_more": true}),
            ),
            Answer::Json(
                200,
                json!({"data": [item("user_message", "which?\nsay"), item("assistant_message", "**green**")],
                       "has_more": true, "after": "x"}),
            ),
            Answer::Json(
                200,
                json!({"data": [item("hologram", ""), item("user_message", "thanks")], "has_more": false}),
            ),
        ]
    };
    let (done, out, requests) = answered(Inquiry::Show(Named::Newest), PLAIN, script()).await;
    done.unwrap();
    assert_eq!(out, "> which?\n> say\n\n**green**\n\n> thanks\n");
    assert_eq!(
        requests[1],
        json!({"type": "items.list", "params": {"thread_id": "thr_9", "order": "asc", "limit": 100}})
    );
    assert_eq!(requests[2]["params"]["after"], "x");
    let terminal = Look {
        out_is_terminal: true,
        out_moves: true,
        out_colours: true,
        ..PLAIN
    };
    let (_, out, _) = answered(Inquiry::Show(Named::Newest), terminal, script()).await;
    assert_eq!(
        out,
        "\x1b[2m> which?\n> say\n\x1b[0m\n\x1b[0;1mgreen\x1b[0m\n\n\x1b[2m> thanks\n\x1b[0m"
    );
    let (_, out, _) = answered(
        Inquiry::Show(Named::Newest),
        Look { raw: true, ..PLAIN },
        script(),
    )
    .await;
    assert_eq!(out.lines().count(), 4);
}

#[tokio::test(flavor = "current_thread")]
async fn a_thread_is_deleted_by_its_name() {
    let script = vec![Answer::Json(200, json!({}))];
    let (done, out, requests) =
        answered(Inquiry::Delete(Named::parse("thr_1")), PLAIN, script).await;
    done.unwrap();
    assert_eq!(out, "");
    assert_eq!(
        requests,
        [json!({"type": "threads.delete", "params": {"thread_id": "thr_1"}})]
    );
    // Where there is none, none is deleted.
    let script = vec![Answer::Json(200, json!({"data": []}))];
    let (done, _, requests) = answered(Inquiry::Delete(Named::Newest), PLAIN, script).await;
    assert!(matches!(done, Err(Failure::NoThread)), "{done:?}");
    assert_eq!(requests.len(), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn models_are_listed_by_name() {
    let list = || {
        vec![Answer::Json(
            200,
            json!({"object": "list", "data": [{"id": "large"}, {"id": "ti\u{1b}ny"}]}),
        )]
    };
    let (done, out, _) = answered(Inquiry::Models, PLAIN, list()).await;
    done.unwrap();
    assert_eq!(out, "large\ntiny\n");
    let (_, out, _) = answered(Inquiry::Models, Look { raw: true, ..PLAIN }, list()).await;
    assert_eq!(out, "{\"id\":\"large\"}\n{\"id\":\"ti\\u001bny\"}\n");
    let refused = vec![Answer::Json(
        401,
        json!({"error": {"message": "the key is wrong"}}),
    )];
    let (done, _, _) = answered(Inquiry::Models, PLAIN, refused).await;
    assert_eq!(done.unwrap_err().to_string(), "the key is wrong");
}
