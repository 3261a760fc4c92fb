//! Whom TLS trusts: the authorities that the system trusts, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR` alone.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_native_certs::CertificateResult;

use super::SetupError;

/// The variables that name authorities in place of the system's, as OpenSSL reads them.
const NAMING: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Reads files: a third of a megabyte, where the system keeps one bundle.
pub(super) fn tls() -> Result<ClientConfig, SetupError> {
    let is_named = NAMING
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    let roots = roots(rustls_native_certs::load_native_certs(), is_named)?;
    Ok(client(roots))
}

/// For who speaks no TLS, and need not read what the system trusts.
pub(super) fn nobody() -> ClientConfig {
    client(RootCertStore::empty())
}

/// TLS 1.2 and 1.3, as rustls recommends them, without a certificate of the client's.
fn client(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has ciphers for the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Where the system keeps none (a bare container), the authorities that browsers trust, which this library was built with.
/// Never in place of those that were named: whoever names some wants no others.
fn roots(found: CertificateResult, is_named: bool) -> Result<RootCertStore, SetupError> {
    for error in &found.errors {
        tracing::info!(%error, "an authority's certificate cannot be read");
    }
    let mut roots = RootCertStore::empty();
    let (trusted, _unreadable) = roots.add_parsable_certificates(found.certs);
    if trusted > 0 {
        return Ok(roots);
    }
    if is_named {
        return Err(SetupError::NoAuthority);
    }
    tracing::warn!(
        "the system names no authority that TLS trusts: those that were built in are used"
    );
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(certificates: usize) -> CertificateResult {
        let mut found = CertificateResult::default();
        for _ in 0..certificates {
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = rcgen::CertificateParams::default().self_signed(&key);
            found.certs.push(certificate.unwrap().der().clone());
        }
        found
    }

    #[test]
    fn the_built_in_authorities_stand_in_for_none_but_never_for_named_ones() {
        assert_eq!(roots(found(2), false).unwrap().len(), 2);
        assert_eq!(roots(found(1), true).unwrap().len(), 1);
        assert!(roots(found(0), false).unwrap().len() > 100);
        let mut garbage = found(0);
        garbage.certs.push(b"no certificate".to_vec().into());
        assert_eq!(
            roots(garbage, true).unwrap_err().to_string(),
            "no certificate can be read from what `SSL_CERT_FILE` and `SSL_CERT_DIR` name: mend or unset them"
        );
    }
}
