//! Garbage, as a module could send it that does not use the SDK: it is refused in a sentence, and does no harm.

use http::Method;
use midplane_sdk::storage::wire as sdk_wire;

use super::*;
use crate::wire;

/// Rounds of each; the choices are the same at every run.
const ROUNDS: u64 = 10_000;

/// xorshift64*.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next()).expect("48 bits") % end
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len)
            .map(|_| u8::try_from(self.next() & 0xff).expect("8 bits"))
            .collect()
    }

    /// A batch as the SDK writes it.
    fn batch(&mut self) -> Vec<u8> {
        let keys: Vec<Vec<u8>> = (0..self.below(6))
            .map(|n| vec![u8::try_from(n).expect("small"); 1 + self.below(20)])
            .collect();
        let value = vec![7; self.below(200)];
        let expect = keys.iter().map(|key| {
            let expectation = match self.below(4) {
                0 => sdk_wire::Expectation::Absent,
                1 => sdk_wire::Expectation::Present,
                2 => sdk_wire::Expectation::Version(self.next()),
                _ => sdk_wire::Expectation::Value(serde_bytes::Bytes::new(&value)),
            };
            (serde_bytes::Bytes::new(key), expectation)
        });
        let expect = expect.collect();
        let write = keys.iter().map(|key| match self.below(2) {
            0 => sdk_wire::Write::Delete(serde_bytes::Bytes::new(key)),
            _ => sdk_wire::Write::Put(
                serde_bytes::Bytes::new(key),
                serde_bytes::Bytes::new(&value),
            ),
        });
        let batch = sdk_wire::Batch {
            expect,
            write: write.collect(),
        };
        postcard::to_stdvec(&batch).expect("bytes and numbers only")
    }

    /// Flips, cuts, inserts or repeats.
    fn spoil(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(4) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => bytes.truncate(at),
                2 => {
                    let len = 1 + self.below(9);
                    let inserted = self.bytes(len);
                    bytes.splice(at..at, inserted);
                }
                _ => bytes
                    .splice(at..at, [0xff, 0xff, 0xff, 0xff, 0x0f])
                    .for_each(drop),
            }
        }
    }
}

#[test]
fn whatever_comes_as_a_batch_is_read_or_refused() {
    let mut chance = Chance(3);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        let mut bytes = match chance.below(3) {
            0 => {
                let len = chance.below(60);
                chance.bytes(len)
            }
            _ => chance.batch(),
        };
        if chance.below(4) > 0 {
            chance.spoil(&mut bytes);
        }
        match wire::batch(&bytes.clone().into()) {
            // No more is kept than came: lengths in it are not believed.
            Ok(batch) => {
                assert!(batch.bytes() <= bytes.len(), "{bytes:?}");
                read += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(
        read > 1_000 && refused > 1_000,
        "{read} read, {refused} refused"
    );
}

#[tokio::test]
async fn whatever_is_asked_is_answered_and_nothing_of_others_is_touched() {
    let mut module = None;
    let draining = drained_with(&mut module).await;
    let memory: Arc<dyn Backend> = Arc::new(Memory::new(QUOTA_BYTES));
    let other = Storage::over(Calls::of("other", Arc::clone(&memory), draining.clone()));
    other.put("kept", "as it is").await.unwrap();
    let before = other.usage().await.unwrap();
    let hostile = Calls::of("hostile", memory, draining);
    let mut chance = Chance(5);
    let mut statuses = std::collections::BTreeMap::new();
    for _ in 0..ROUNDS {
        let request = any_request(&mut chance);
        let told = format!("{} {}", request.method(), request.uri());
        let response = hostile.send(request).await;
        let status = response.status().as_u16();
        *statuses.entry(status).or_insert(0) += 1;
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(
            matches!(status, 200 | 204 | 400 | 404 | 405 | 412 | 413 | 507),
            "{told}: {status} {body:?}"
        );
        assert!(body.len() < 3 << 20, "{told}: {} bytes", body.len());
    }
    for status in [200, 204, 400, 404, 405, 412] {
        assert!(statuses.contains_key(&status), "{statuses:?}");
    }
    assert_eq!(other.usage().await.unwrap(), before);
    let kept = other.get("kept").await.unwrap().unwrap();
    assert_eq!(kept.value, "as it is");
}

fn any_request(chance: &mut Chance) -> Request<Body> {
    const METHODS: [Method; 5] = [
        Method::GET,
        Method::PUT,
        Method::DELETE,
        Method::POST,
        Method::PATCH,
    ];
    const WORDS: [&str; 12] = [
        "aw",
        "",
        "%00",
        "a%3D",
        "=",
        "..",
        "a+b",
        "\u{7f}",
        "-1",
        "1000",
        "18446744073709551616",
        "true",
    ];
    const NAMES: [&str; 9] = [
        "prefix",
        "from",
        "to",
        "after",
        "limit",
        "reverse",
        "keys_only",
        "seen",
        "x",
    ];
    let word = |chance: &mut Chance| match chance.below(14) {
        12 => "QUFB".repeat(400),
        13 => "a".repeat(60_000),
        n => WORDS[n].to_owned(),
    };
    let path = match chance.below(6) {
        0 | 1 => format!("/kv/{}", word(chance)),
        2 => "/kv".to_owned(),
        3 => "/commit".to_owned(),
        4 => "/usage".to_owned(),
        // One that would wait is not among them.
        _ => format!("/changes?seen={}", chance.next() + 1_000_000),
    };
    let mut query = String::new();
    for _ in 0..chance.below(4) {
        query += &format!("&{}={}", NAMES[chance.below(9)], word(chance));
    }
    let joint = if path.contains('?') { "" } else { "?" };
    let target = format!("{path}{joint}{query}");
    let method = METHODS[chance.below(5)].clone();
    let mut request = Request::builder().method(method).uri(target.as_str());
    for name in ["if-match", "if-none-match"] {
        if chance.below(4) == 0 {
            const TAGS: [&[u8]; 6] = [b"*", b"\"1\"", b"1", b"", b"\"\"", b"\"-1\", \xff"];
            request = request.header(name, TAGS[chance.below(6)]);
        }
    }
    let mut body = chance.batch();
    if chance.below(2) == 0 {
        chance.spoil(&mut body);
    }
    let body = Body::from(body);
    match request.body(body) {
        Ok(request) => request,
        // No client can send it either.
        Err(_) => Request::new(Body::empty()),
    }
}
