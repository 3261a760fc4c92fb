//! What is swept, and when; what a model is shown. On a store in memory and files on a disk.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use futures_util::stream;
use http::HeaderMap;

use super::*;
use crate::attachments::kind::Types;
use crate::protocol::id::ItemId;
use crate::protocol::item::{Item, ItemKind};
use crate::protocol::message::{InferenceOptions, UserMessage};
use crate::protocol::thread::ThreadMetadata;
use crate::provider::Part;
use crate::store::Memory;

const HOUR: Duration = Duration::from_secs(3_600);

struct Stage {
    attachments: Attachments,
    store: Arc<Memory>,
    dir: PathBuf,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Stage {
    fn new() -> Stage {
        let dir = std::env::temp_dir().join(format!("midplane-chat-{}", AttachmentId::generate()));
        let store = Arc::new(Memory::default());
        let limits = Limits {
            file_bytes: 64 << 20,
            user_bytes: 1 << 30,
            per_message: 10,
            name_bytes: 255,
            types: Types::Known,
            base_url: "http://localhost".to_owned(),
        };
        let attachments = Attachments::new(Some(limits), "chat", &dir, Arc::clone(&store) as _);
        // Only the test sweeps: one in the background would meet it halfway.
        *attachments.0.swept.lock().unwrap() = Some(Instant::now());
        Stage {
            attachments,
            store,
            dir,
        }
    }

    async fn announce(&self, mime_type: &str) -> Attachment {
        let request = CreateAttachment {
            name: "a".to_owned(),
            size_bytes: 1,
            mime_type: mime_type.to_owned(),
        };
        self.attachments.create("ada", request).await.unwrap()
    }

    /// One that is uploaded.
    async fn whole(&self, mime_type: &str, bytes: &[u8]) -> Attachment {
        let attachment = self.announce(mime_type).await;
        std::fs::write(self.folder().join(attachment.id.to_string()), bytes).unwrap();
        std::fs::remove_file(self.folder().join(format!("{}.wanted", attachment.id))).unwrap();
        attachment
    }

    async fn thread(&self) -> ThreadId {
        let thread = ThreadMetadata::new(Timestamp::now());
        self.store.add_thread("ada", thread.clone()).await.unwrap();
        thread.id
    }

    fn folder(&self) -> PathBuf {
        self.attachments.folder("ada").path().to_owned()
    }

    /// Lets a file's last change be so long ago.
    fn age(&self, name: &str, age: Duration) {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(self.folder().join(name))
            .unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    async fn sweep(&self) {
        self.attachments.clone().sweep().await;
    }

    async fn is_known(&self, attachment: &Attachment) -> bool {
        self.store.attachment("ada", &attachment.id).await.is_ok()
    }

    fn is_there(&self, name: &str) -> bool {
        self.folder().join(name).exists()
    }
}

#[tokio::test]
async fn an_upload_that_never_came_goes_after_an_hour() {
    let stage = Stage::new();
    let (old, young) = (
        stage.announce("text/plain").await,
        stage.announce("text/plain").await,
    );
    let name = |attachment: &Attachment| format!("{}.wanted", attachment.id);
    stage.age(&name(&old), HOUR + Duration::from_secs(60));
    stage.age(&name(&young), HOUR - Duration::from_secs(60));
    stage.sweep().await;
    assert!(!stage.is_known(&old).await && !stage.is_there(&name(&old)));
    assert!(stage.is_known(&young).await && stage.is_there(&name(&young)));
}

#[tokio::test]
async fn what_a_kill_left_of_an_upload_goes_and_one_under_way_stays() {
    let stage = Stage::new();
    stage.announce("text/plain").await;
    for (name, age) in [
        ("atc_1.00.part", 11 * 60),
        ("atc_2.00.part", 9 * 60),
        ("other.part", 11 * 60),
    ] {
        std::fs::write(stage.folder().join(name), "hel").unwrap();
        stage.age(name, Duration::from_secs(age));
    }
    stage.sweep().await;
    assert!(!stage.is_there("atc_1.00.part"));
    assert!(stage.is_there("atc_2.00.part"));
    assert!(stage.is_there("other.part"), "what is not ours is left");
}

#[tokio::test]
async fn a_file_goes_when_no_message_and_no_record_has_it() {
    let stage = Stage::new();
    let unsent = stage.whole("text/plain", b"x").await;
    let draft = stage.whole("text/plain", b"x").await;
    let thread = stage.thread().await;
    let sent = stage.whole("text/plain", b"x").await;
    stage
        .attachments
        .attach("ada", &thread, std::slice::from_ref(&sent.id))
        .await
        .unwrap();
    for (attachment, hours) in [(&unsent, 25), (&draft, 23), (&sent, 1_000)] {
        stage.age(&attachment.id.to_string(), hours * HOUR);
    }
    for (name, hours) in [("atc_orphan", 25), ("atc_young", 23)] {
        std::fs::write(stage.folder().join(name), "x").unwrap();
        stage.age(name, hours * HOUR);
    }
    stage.sweep().await;
    assert!(!stage.is_known(&unsent).await && !stage.is_there(&unsent.id.to_string()));
    assert!(!stage.is_there("atc_orphan") && stage.is_there("atc_young"));
    for kept in [&draft, &sent] {
        assert!(stage.is_known(kept).await && stage.is_there(&kept.id.to_string()));
    }
    // As a kill between the two leaves it: the thread is deleted, its attachments not yet.
    stage.store.delete_thread("ada", &thread).await.unwrap();
    stage.sweep().await;
    assert!(!stage.is_known(&sent).await && !stage.is_there(&sent.id.to_string()));
}

#[tokio::test]
async fn what_is_known_of_no_file_is_forgotten() {
    let stage = Stage::new();
    let (lost, young) = (
        stage.announce("text/plain").await,
        stage.announce("text/plain").await,
    );
    let mut record = stage.store.attachment("ada", &lost.id).await.unwrap();
    let long_ago = Timestamp::now().micros() - 25 * 3_600 * 1_000_000;
    record.created_at = Timestamp::from_micros(long_ago);
    stage
        .store
        .save_attachment("ada", record.clone())
        .await
        .unwrap();
    record.attachment.id = "atc_2".into();
    stage.store.save_attachment("bob", record).await.unwrap();
    std::fs::remove_dir_all(stage.folder()).unwrap();
    stage.sweep().await;
    assert!(!stage.is_known(&lost).await && stage.is_known(&young).await);
    assert!(
        stage
            .store
            .attachment("bob", &"atc_2".into())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_deleted_thread_takes_its_files_and_no_others() {
    let stage = Stage::new();
    let (thread, other) = (stage.thread().await, stage.thread().await);
    let (mine, theirs) = (
        stage.whole("text/plain", b"x").await,
        stage.whole("text/plain", b"x").await,
    );
    let draft = stage.whole("text/plain", b"x").await;
    stage
        .attachments
        .attach("ada", &thread, std::slice::from_ref(&mine.id))
        .await
        .unwrap();
    stage
        .attachments
        .attach("ada", &other, std::slice::from_ref(&theirs.id))
        .await
        .unwrap();
    stage.store.delete_thread("ada", &thread).await.unwrap();
    stage.attachments.forget_thread("ada", &thread).await;
    assert!(!stage.is_known(&mine).await && !stage.is_there(&mine.id.to_string()));
    for kept in [&theirs, &draft] {
        assert!(stage.is_known(kept).await && stage.is_there(&kept.id.to_string()));
    }
}

#[tokio::test]
async fn an_attachment_whose_thread_is_gone_can_go_to_another() {
    let stage = Stage::new();
    let (first, second) = (stage.thread().await, stage.thread().await);
    let attachment = stage.whole("text/plain", b"x").await;
    let ids = [attachment.id];
    stage.attachments.attach("ada", &first, &ids).await.unwrap();
    let refusal = stage
        .attachments
        .attach("ada", &second, &ids)
        .await
        .unwrap_err();
    assert!(matches!(refusal, Refusal::OtherThread(_)));
    stage.store.delete_thread("ada", &first).await.unwrap();
    let attached = stage
        .attachments
        .attach("ada", &second, &ids)
        .await
        .unwrap();
    assert_eq!(attached[0].thread_id, Some(second));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_drips_is_cut() {
    let stage = Stage::new();
    let attachment = stage.announce("text/plain").await;
    let never = Body::from_stream(stream::pending::<std::io::Result<bytes::Bytes>>());
    let start = tokio::time::Instant::now();
    let (none, id) = (HeaderMap::new(), &attachment.id);
    let refusal = stage
        .attachments
        .upload("ada", id, &none, never)
        .await
        .unwrap_err();
    assert!(matches!(refusal, Refusal::Slow));
    assert_eq!(start.elapsed(), limits::UPLOAD_TIME_MAX);
    let uploaded = stage
        .attachments
        .upload("ada", id, &none, Body::from("x"))
        .await
        .unwrap();
    assert_eq!(
        uploaded,
        Attachment {
            upload_descriptor: None,
            ..attachment
        }
    );
}

fn message(attachments: &[&Attachment]) -> Item {
    Item {
        id: ItemId::message(),
        thread_id: "thr_1".into(),
        created_at: Timestamp::now(),
        cost: None,
        kind: ItemKind::UserMessage(UserMessage {
            content: Vec::new(),
            attachments: attachments
                .iter()
                .map(|attachment| (*attachment).clone())
                .collect(),
            quoted_text: None,
            inference_options: InferenceOptions::default(),
        }),
    }
}

fn words(part: &Part) -> &str {
    match part {
        Part::Text(text) => text,
        other => panic!("no text: {other:?}"),
    }
}

#[tokio::test]
async fn a_model_is_shown_the_newest_and_told_of_the_rest() {
    let stage = Stage::new();
    let half = vec![0; 13 << 20];
    let [old, new] = [
        stage.whole("image/png", &half).await,
        stage.whole("image/png", &half).await,
    ];
    let small = stage.whole("application/pdf", b"%PDF-").await;
    let gone = stage.whole("image/png", b"x").await;
    stage.attachments.delete("ada", &gone.id).await.unwrap();
    let newest_first = [message(&[&new, &small]), message(&[&old, &new, &gone])];
    let contents = stage.attachments.contents("ada", newest_first.iter()).await;
    let [newest, oldest] = [&newest_first[0], &newest_first[1]].map(|item| contents.of(&item.id));
    assert!(matches!(&newest[0], Part::Image { data, .. } if data.len() == half.len()));
    assert!(matches!(&newest[1], Part::File { data, name, .. } if data == "%PDF-" && name == "a"));
    for (part, expect) in oldest.iter().zip([
        "is left out",
        "with a later message",
        "cannot be read any more",
    ]) {
        assert!(words(part).contains(expect), "{part:?}");
    }
    assert!(contents.of(&ItemId::message()).is_empty());
    // Nobody else's message shows them.
    let foreign = stage.attachments.contents("eve", newest_first.iter()).await;
    assert!(words(&foreign.of(&newest_first[0].id)[0]).contains("cannot be read any more"));
}

#[tokio::test]
async fn long_text_is_cut_at_a_character_and_the_model_told() {
    let stage = Stage::new();
    let euros = "€".repeat(100_000);
    let (long, more) = (
        stage.whole("text/plain", euros.as_bytes()).await,
        stage.whole("text/plain", b"more").await,
    );
    let empty = stage.whole("text/plain", b"").await;
    let newest_first = [message(&[&long, &more, &empty])];
    let contents = stage.attachments.contents("ada", newest_first.iter()).await;
    let [long, more, empty] = contents.of(&newest_first[0].id) else {
        panic!("three parts")
    };
    assert!(words(long).ends_with("€\n[cut here: the file has 300000 bytes]\n</attachment>"));
    assert_eq!(words(long).matches('€').count(), 256 * 1024 / 3);
    assert!(
        words(more).contains("is left out, since later ones are long"),
        "{more:?}"
    );
    assert_eq!(
        words(empty),
        "<attachment name=\"a\" type=\"text/plain\">\n\n</attachment>"
    );
}
