//! Titles, as a client sees them come.

use super::provider::{FakeProvider, Reply};
use super::*;

#[tokio::test]
async fn the_model_s_title_comes_behind_the_answer_and_is_asked_for_once() {
    let says = |word: &str| Reply::says("responses", &[word]);
    let provider =
        FakeProvider::start(vec![says("By :q"), says("\"Leaving vim.\""), says("Yes")]).await;
    let module =
        start(json!({"base_url": provider.base_url(), "model": "tiny", "titles": "model"})).await;
    let session = || ada().secret("sk-test");
    let first = events(&module, session(), create("How do I leave vim?")).await;
    assert_eq!(
        types(&first)[first.len() - 2..],
        ["thread.item.done", "thread.updated"]
    );
    assert_eq!(first.last().unwrap()["thread"]["title"], "Leaving vim");
    let asked = provider.requests().remove(1);
    assert!(
        asked.contains("You name conversations.") && asked.contains("By :q"),
        "{asked}"
    );
    let again = on(
        "threads.add_user_message",
        &first[0]["thread"]["id"],
        json!({"input": input("Sure?")}),
    );
    let second = events(&module, session(), again).await;
    assert!(!types(&second).contains(&"thread.updated"));
    assert_eq!(provider.requests().len(), 3);
}

#[tokio::test]
async fn without_a_model_the_words_do_and_without_titles_nothing_comes() {
    let says = Reply::says("responses", &["By :q"]);
    let fails = Reply::status("400 Bad Request", "", "{}");
    let provider = FakeProvider::start(vec![says, fails]).await;
    let config = json!({"base_url": provider.base_url(), "model": "tiny", "titles": "model"});
    let fallen_back = events(
        &start(config).await,
        ada().secret("sk-test"),
        create("Leave vim?"),
    )
    .await;
    assert_eq!(fallen_back.last().unwrap()["thread"]["title"], "Leave vim?");
    let echoed = events(
        &start(json!({"titles": "model"})).await,
        ada(),
        create("Leave vim?"),
    )
    .await;
    assert_eq!(echoed.last().unwrap()["thread"]["title"], "Leave vim?");
    let none = events(
        &start(json!({"titles": "none"})).await,
        ada(),
        create("Leave vim?"),
    )
    .await;
    assert_eq!(types(&none).last(), Some(&"thread.item.done"));
}
