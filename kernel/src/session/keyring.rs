//! The signing keys of this process: the current one and the one before. In memory only, never in or out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ring::error::Unspecified;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::token::{self, Claims, Key, Parts, RejectReason};

/// As long as the hash (RFC 7518 section 3.2).
const KEY_LEN: usize = 32;

pub(super) struct Keyring {
    current: SigningKey,
    previous: Option<SigningKey>,
    /// Verified against when no key of ours has the token's header, so that an unknown `kid` takes as long as a forged
    /// signature.
    decoy: Key,
}

struct SigningKey {
    key: Key,
    state: KeyState,
}

/// Whether tokens of a key still count; shared with everyone who has verified one.
#[derive(Clone)]
pub(crate) struct KeyState(Arc<AtomicBool>);

impl KeyState {
    pub(crate) fn is_valid(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Keyring {
    pub(super) fn new() -> Result<Keyring, Unspecified> {
        Ok(Keyring {
            current: SigningKey::generate()?,
            previous: None,
            decoy: generate()?,
        })
    }

    pub(super) fn sign(&self, claims: &Claims) -> String {
        self.current.key.sign(claims)
    }

    pub(super) fn verify(&self, token: &[u8]) -> Result<(Claims, KeyState), RejectReason> {
        let parts = Parts::cut(token)?;
        let ours = [Some(&self.current), self.previous.as_ref()];
        let Some(signing) = ours
            .into_iter()
            .flatten()
            .find(|signing| signing.key.wrote_header_of(&parts))
        else {
            // Its outcome does not matter: nothing was ever signed with it.
            let _ = self.decoy.verify(&parts);
            return Err(RejectReason::Header);
        };
        Ok((signing.key.verify(&parts)?, signing.state.clone()))
    }

    pub(super) fn rotate(&mut self, revoke_previous: bool) -> Result<String, Unspecified> {
        let replaced = std::mem::replace(&mut self.current, SigningKey::generate()?);
        // The one before the one before is gone: its tokens have no key any more.
        if let Some(oldest) = self.previous.take() {
            oldest.revoke();
        }
        if revoke_previous {
            replaced.revoke();
        } else {
            self.previous = Some(replaced);
        }
        Ok(self.current.key.kid().to_owned())
    }
}

impl SigningKey {
    fn generate() -> Result<SigningKey, Unspecified> {
        Ok(SigningKey {
            key: generate()?,
            state: KeyState(Arc::new(AtomicBool::new(true))),
        })
    }

    fn revoke(&self) {
        self.state.0.store(false, Ordering::Release);
    }
}

fn generate() -> Result<Key, Unspecified> {
    let mut bytes = Zeroizing::new([0; KEY_LEN]);
    SystemRandom::new().fill(bytes.as_mut())?;
    Ok(Key::new(&token::random_id()?, bytes.as_ref()))
}
