//! From issue to oblivion: what a session's token is worth at each moment.

use std::sync::Arc;
use std::time::Duration;

use super::super::store::Filter;
use super::super::token::RejectReason;
use super::super::{RenewError, Sessions, Status};
use super::{NOW, issue, new_session, sessions};

/// As the store has it: how long an ended session is still listed.
const RETENTION_S: u64 = 300;
/// Longer than any step takes; nothing waits this long when all is well.
const DEADLINE: Duration = Duration::from_secs(30);

fn verdict(sessions: &Sessions, token: &str, now: u64) -> Result<(), RejectReason> {
    sessions.verify(token.as_bytes(), now).map(drop)
}

#[test]
fn a_token_holds_from_its_second_until_its_last() {
    let sessions = sessions(10);
    let (session, token) = issue(&sessions, "me", 600);
    for (now, expect, status) in [
        (NOW - 1, Err(RejectReason::Expired), Status::Active),
        (NOW, Ok(()), Status::Active),
        (NOW + 599, Ok(()), Status::Active),
        (NOW + 600, Err(RejectReason::Expired), Status::Expired),
        (NOW + 601, Err(RejectReason::Expired), Status::Expired),
        (u64::MAX, Err(RejectReason::Expired), Status::Expired),
    ] {
        assert_eq!(verdict(&sessions, &token, now), expect, "at {now}");
        assert_eq!(session.status(now), status, "at {now}");
    }
}

#[test]
fn a_verified_token_is_rechecked_for_all_that_can_end_it() {
    let sessions = sessions(10);
    let (session, token) = issue(&sessions, "me", 600);
    let verified = sessions.verify(token.as_bytes(), NOW).unwrap();
    assert_eq!(verified.session.id(), session.id());
    assert_eq!(verified.expires_at, NOW + 600);
    assert!(sessions.recheck(&verified, NOW + 599));
    assert!(!sessions.recheck(&verified, NOW + 600), "expired");

    let (other, other_token) = issue(&sessions, "you", 600);
    let other_verified = sessions.verify(other_token.as_bytes(), NOW).unwrap();
    assert!(sessions.revoke(other.id(), NOW).is_some());
    assert!(!sessions.recheck(&other_verified, NOW), "revoked");
    assert_eq!(
        verdict(&sessions, &other_token, NOW),
        Err(RejectReason::NoSession)
    );

    sessions.rotate(false).unwrap();
    assert!(
        sessions.recheck(&verified, NOW),
        "the key before still counts"
    );
    sessions.rotate(false).unwrap();
    assert!(!sessions.recheck(&verified, NOW), "the key is gone");
}

#[test]
fn revoking_ends_a_session_at_once_and_only_once() {
    let sessions = sessions(10);
    let (session, token) = issue(&sessions, "me", 600);
    assert!(session.secret().is_some());
    assert!(sessions.revoke(session.id(), NOW + 1).is_some());
    assert_eq!(
        verdict(&sessions, &token, NOW + 1),
        Err(RejectReason::NoSession)
    );
    assert_eq!(session.status(NOW + 1), Status::Revoked);
    assert!(session.secret().is_none(), "the key is wiped with it");
    // One already dead answers the same, one never issued does not.
    assert!(sessions.revoke(session.id(), NOW + 2).is_some());
    assert!(sessions.revoke("ses_unknown", NOW).is_none());
    assert_eq!(
        session.status(NOW + 10_000),
        Status::Revoked,
        "and not expired"
    );
}

#[tokio::test]
async fn whoever_waits_for_the_end_is_told() {
    let sessions = sessions(10);
    let (session, _) = issue(&sessions, "me", 600);
    let waiting = Arc::clone(&session);
    let ended = async move { waiting.revoked().await };
    let revoke = async { sessions.revoke(session.id(), NOW) };
    let ((), revoked) = tokio::join!(ended, revoke);
    assert!(revoked.is_some());
}

#[test]
fn a_key_handed_over_after_the_end_is_not_kept() {
    let sessions = sessions(10);
    let (session, _) = issue(&sessions, "me", 600);
    let key = session.secret().unwrap();
    sessions.revoke(session.id(), NOW);
    session.replace_secret(key);
    assert!(session.secret().is_none());
}

#[test]
fn a_filter_revokes_those_that_match() {
    let by_user = |user: &str| Filter {
        user: Some(user.to_owned()),
        ..Filter::default()
    };
    let by_key = |id: &str| Filter {
        secret_key_id: Some(id.to_owned()),
        ..Filter::default()
    };
    let both = Filter {
        user: Some("ann".to_owned()),
        secret_key_id: Some("key-of-bob".to_owned()),
    };
    for (filter, expect) in [
        (by_user("ann"), 2),
        (by_user("bob"), 1),
        (by_user("eve"), 0),
        (by_key("key-of-ann"), 2),
        (by_key("key"), 0),
        (both, 0),
    ] {
        let sessions = sessions(10);
        for user in ["ann", "bob", "ann"] {
            issue(&sessions, user, 600);
        }
        let revoked = sessions.revoke_matching(&filter, NOW);
        assert_eq!(revoked.len(), expect, "{filter:?}");
        assert!(revoked.iter().all(|session| session.is_revoked()));
        assert_eq!(
            sessions.revoke_matching(&filter, NOW).len(),
            0,
            "{filter:?}: none is left"
        );
    }
}

#[test]
fn renewing_gives_another_token_up_to_the_longest_life() {
    let sessions = sessions(10);
    let (session, first) = issue(&sessions, "me", 600);
    // (at, asked, granted)
    for (now, asked, granted) in [
        (NOW + 100, 600, 600),
        (NOW + 3000, 600, 600),
        (NOW + 3001, 600, 599),
        (NOW + 3599, 3600, 1),
    ] {
        let (renewed, token, expires_in) = sessions.renew(session.id(), asked, now).unwrap();
        assert_eq!(renewed.id(), session.id());
        assert_eq!(expires_in, granted, "at {now}");
        assert_eq!(verdict(&sessions, token.expose(), now), Ok(()));
        assert_eq!(
            verdict(&sessions, token.expose(), now + granted),
            Err(RejectReason::Expired)
        );
    }
    // The first token keeps its own end.
    assert_eq!(
        verdict(&sessions, &first, NOW + 600),
        Err(RejectReason::Expired)
    );
    let ended = |id: &str, now| sessions.renew(id, 600, now).err();
    assert_eq!(ended(session.id(), NOW + 3600), Some(RenewError::Ended));
    assert_eq!(ended("ses_unknown", NOW), Some(RenewError::NotFound));
    let (revoked, _) = issue(&sessions, "you", 600);
    sessions.revoke(revoked.id(), NOW);
    assert_eq!(ended(revoked.id(), NOW), Some(RenewError::Ended));
}

#[test]
fn rotation_keeps_one_key_back_unless_told_not_to() {
    for (rotations, expect) in [
        (&[][..], Ok(())),
        (&[false], Ok(())),
        (&[true], Err(RejectReason::Header)),
        (&[false, false], Err(RejectReason::Header)),
        (&[false, true], Err(RejectReason::Header)),
    ] {
        let sessions = sessions(10);
        let (session, token) = issue(&sessions, "me", 600);
        let mut kids: Vec<String> = rotations
            .iter()
            .map(|revoke| sessions.rotate(*revoke).unwrap())
            .collect();
        assert_eq!(verdict(&sessions, &token, NOW), expect, "{rotations:?}");
        // The session itself lives: a new token works under the newest key.
        let (_, token, _) = sessions.renew(session.id(), 60, NOW).unwrap();
        assert_eq!(verdict(&sessions, token.expose(), NOW), Ok(()));
        kids.sort();
        kids.dedup();
        assert_eq!(kids.len(), rotations.len(), "each key has its own name");
    }
}

#[test]
fn ended_sessions_are_listed_for_a_while_and_then_forgotten() {
    let sessions = sessions(10);
    let (short, _) = issue(&sessions, "short", 60);
    let (long, _) = issue(&sessions, "long", 600);
    let (revoked, _) = issue(&sessions, "revoked", 600);
    sessions.revoke(revoked.id(), NOW + 10);
    // (at, next look, who is left)
    for (now, next, left) in [
        (NOW, Some(NOW + 10 + RETENTION_S), 3),
        (NOW + 9 + RETENTION_S, Some(NOW + 10 + RETENTION_S), 3),
        (NOW + 10 + RETENTION_S, Some(NOW + 60 + RETENTION_S), 2),
        (NOW + 60 + RETENTION_S, Some(NOW + 600 + RETENTION_S), 1),
        (NOW + 600 + RETENTION_S, None, 0),
        (NOW + 601 + RETENTION_S, None, 0),
    ] {
        assert_eq!(sessions.sweep(now), next, "at {now}");
        assert_eq!(sessions.count(), left, "at {now}");
    }
    for forgotten in [&short, &long, &revoked] {
        assert!(sessions.get(forgotten.id()).is_none());
        assert!(forgotten.secret().is_none(), "its key went with it");
    }
}

#[test]
fn a_renewed_session_is_not_forgotten_at_its_first_end() {
    let sessions = sessions(10);
    let (session, _) = issue(&sessions, "me", 60);
    sessions.renew(session.id(), 600, NOW + 30).unwrap();
    assert_eq!(
        sessions.sweep(NOW + 60 + RETENTION_S),
        Some(NOW + 630 + RETENTION_S)
    );
    assert!(sessions.get(session.id()).is_some());
    assert_eq!(sessions.sweep(NOW + 630 + RETENTION_S), None);
    assert!(sessions.get(session.id()).is_none());
}

#[test]
fn more_than_a_sweeps_batch_is_forgotten_in_one_sweep() {
    let sessions = sessions(2000);
    for n in 0..1500 {
        issue(&sessions, "me", 60 + n % 2);
    }
    assert_eq!(sessions.sweep(NOW + 61 + RETENTION_S), None);
    assert_eq!(sessions.count(), 0);
}

#[test]
fn pages_are_newest_first_and_cover_all_once() {
    let sessions = sessions(100);
    let mut ids: Vec<String> = (0..25)
        .map(|_| issue(&sessions, "me", 600).0.id().to_owned())
        .collect();
    ids.reverse();
    for limit in [1, 2, 5, 24, 25, 26, 100] {
        let (mut seen, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
        loop {
            let (page, more) = sessions.list(limit, after.as_deref()).unwrap();
            assert!(page.len() <= limit);
            seen.extend(page.iter().map(|session| session.id().to_owned()));
            assert_eq!(more, seen.len() < 25, "limit {limit}");
            after = seen.last().cloned();
            if !more {
                break;
            }
        }
        assert_eq!(seen, ids, "limit {limit}");
    }
    assert!(sessions.list(10, Some("ses_unknown")).is_none());
    let (page, more) = sessions.list(10, ids.last().map(String::as_str)).unwrap();
    assert!(page.is_empty() && !more, "there is nothing after the last");
}

#[test]
fn a_full_store_takes_one_more_only_in_an_ended_ones_place() {
    let sessions = sessions(3);
    let first: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|user| issue(&sessions, user, 600).0)
        .collect();
    let limit = sessions.issue(&new_session("d", 600), NOW).err().unwrap();
    assert_eq!(limit.max, 3);
    assert_eq!(sessions.count(), 3);

    sessions.revoke(first[1].id(), NOW);
    let (fourth, token) = issue(&sessions, "d", 600);
    assert!(sessions.get(first[1].id()).is_none(), "it made room");
    assert!(sessions.get(first[0].id()).is_some() && sessions.get(first[2].id()).is_some());
    assert_eq!(verdict(&sessions, &token, NOW), Ok(()));
    assert!(sessions.issue(&new_session("e", 600), NOW).is_err());

    // When all have expired, each makes room for one.
    for user in ["e", "f", "g"] {
        assert!(sessions.issue(&new_session(user, 600), NOW + 600).is_ok());
    }
    assert!(sessions.get(fourth.id()).is_none());
}

/// What a forged token touches does not depend on how many sessions there are: it ends at the signature, and a good one
/// ends at its own session among all others.
#[test]
fn a_million_sessions_change_nothing_about_verifying() {
    let sessions = sessions(1_000_000);
    let (session, token) = issue(&sessions, "me", 600);
    while sessions.count() < 1_000_000 {
        sessions
            .store
            .insert(&new_session("crowd", 600), NOW)
            .unwrap();
    }
    let verified = sessions.verify(token.as_bytes(), NOW).unwrap();
    assert!(Arc::ptr_eq(&verified.session, &session));
    let mut forged = token.clone().into_bytes();
    let at = forged.len() - 10;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    // Held for writing, the store would stop any look-up: the forgery is refused without one, and a token verified before
    // needs none either.
    let held = sessions.store.hold();
    let (answer, answered) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let refused = sessions.verify(&forged, NOW).err();
            answer.send((refused, sessions.recheck(&verified, NOW)))
        });
        let answered = answered.recv_timeout(DEADLINE);
        drop(held);
        assert_eq!(answered, Ok((Some(RejectReason::Signature), true)));
    });
    sessions.revoke(session.id(), NOW);
    assert_eq!(
        verdict(&sessions, &token, NOW),
        Err(RejectReason::NoSession)
    );
}

#[test]
fn no_token_and_no_key_is_in_debug_output() {
    let sessions = sessions(1);
    let (session, token) = issue(&sessions, "me", 600);
    let shown = format!("{session:?}");
    assert!(shown.contains(session.id()));
    assert!(
        !shown.contains(&token) && !shown.contains("sk-test"),
        "{shown}"
    );
}
