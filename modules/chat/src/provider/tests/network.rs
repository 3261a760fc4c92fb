//! The way to the provider: whom TLS trusts, and which proxies are used, with the environment as the system gives it. Each case
//! asks in a process of its own, since a test cannot change the environment of the others.

use std::path::Path;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Holds the configuration that a child asks with.
const CONFIG: &str = "MIDPLANE_TEST_CONFIG";
/// Everything of the environment that this is about, so that the one at hand does not count.
const CLEARED: [&str; 10] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];

/// An authority that only this test knows.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate's file.
    file: tempfile::NamedTempFile,
}

impl Authority {
    fn new() -> Authority {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), certificate.pem()).unwrap();
        Authority {
            issuer: Issuer::new(parameters, key),
            file,
        }
    }

    /// A server that shows a certificate of this authority for `name`.
    fn server(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    fn path(&self) -> &Path {
        self.file.path()
    }
}

fn members(base_url: impl std::fmt::Display) -> Value {
    json!({"base_url": base_url.to_string(), "model": "tiny", "retries": 0, "connect_timeout": "5s"})
}

/// What a process with these variables makes of asking: what was said, or the failure's words.
async fn ask_with(members: Value, environment: &[(&str, &str)]) -> Result<String, String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let test = "provider::tests::network::asks_as_the_environment_says";
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    for name in CLEARED {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied());
    command.env(CONFIG, members.to_string());
    let (done, output) = oneshot::channel();
    std::thread::spawn(move || done.send(command.output()));
    let output = tokio::time::timeout(DEADLINE, output).await;
    let output = output.expect("the child ends").unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let told = text.lines().find_map(|line| line.strip_prefix("outcome: "));
    let told = told.unwrap_or_else(|| panic!("no outcome: {text}"));
    serde_json::from_str(told).unwrap()
}

#[tokio::test]
#[ignore = "what the other tests here start in processes of their own"]
async fn asks_as_the_environment_says() {
    let Ok(members) = std::env::var(CONFIG) else {
        return;
    };
    let config: Config = serde_json::from_str(&members).unwrap();
    let outcome = match Upstream::new(config.check().unwrap().upstream) {
        Err(error) => Err(error.to_string()),
        Ok(_) => match read(ask(serde_json::from_str(&members).unwrap())).await {
            (said, Ok(Ending::Complete)) => Ok(said),
            (said, end) => Err(format!("{said}{}", end.unwrap_err())),
        },
    };
    println!("\noutcome: {}", serde_json::to_string(&outcome).unwrap());
}

#[tokio::test]
async fn tls_trusts_what_ssl_cert_file_names_and_nothing_else() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let ask = async |name: &str, environment: &[(&str, &str)]| {
        let replies = vec![Reply::says("responses", &["ok"])];
        let provider = FakeProvider::start_tls(replies, ours.server(name)).await;
        let url = format!("https://localhost:{}/v1", provider.address().port());
        let outcome = ask_with(members(url), environment).await;
        (outcome, provider.requests().len())
    };
    let (ours_path, theirs_path) = (
        ours.path().to_str().unwrap(),
        theirs.path().to_str().unwrap(),
    );
    let trusting = [("SSL_CERT_FILE", ours_path)];
    assert_eq!(ask("localhost", &trusting).await, (Ok("ok".to_owned()), 1));
    let untrusted = |(outcome, requests): (Result<String, String>, usize)| {
        let words = outcome.unwrap_err();
        assert!(
            words.contains("is not trusted: add its authority"),
            "{words}"
        );
        assert_eq!(requests, 0, "nothing is sent to whom is not trusted");
    };
    untrusted(ask("localhost", &[("SSL_CERT_FILE", theirs_path)]).await);
    untrusted(ask("localhost", &[]).await);
    untrusted(ask("elsewhere.test", &trusting).await);
    let missing = [("SSL_CERT_FILE", "/nonexistent/ca.pem")];
    let (outcome, _) = ask("localhost", &missing).await;
    let words = outcome.unwrap_err();
    assert!(words.contains("`SSL_CERT_FILE`"), "{words}");
}

#[tokio::test]
async fn https_goes_through_a_tunnel_and_the_proxy_sees_no_key() {
    let authority = Authority::new();
    let replies = vec![Reply::says("responses", &["ok"])];
    let tls = authority.server("provider.test");
    let provider = FakeProvider::start_tls(replies, tls).await;
    let proxy = HttpProxy::start(provider.address(), "200 Established").await;
    let url = format!("http://ada:hunter2@{}", proxy.address());
    let environment = [
        ("SSL_CERT_FILE", authority.path().to_str().unwrap()),
        ("HTTPS_PROXY", &url),
    ];
    let outcome = ask_with(members("https://provider.test/v1"), &environment).await;
    assert_eq!(outcome, Ok("ok".to_owned()));
    let [request] = &proxy.requests()[..] else {
        panic!("one request: {:?}", proxy.requests())
    };
    assert!(
        request.starts_with("CONNECT provider.test:443 HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains("Proxy-Authorization: Basic YWRhOmh1bnRlcjI=\r\n"),
        "{request}"
    );
    assert!(!request.contains("sk-old"), "{request}");
    let [request] = &provider.requests()[..] else {
        panic!("one request")
    };
    assert!(request.contains("host: provider.test\r\n"), "{request}");
    assert!(
        request.contains("authorization: Bearer sk-old\r\n"),
        "{request}"
    );
    assert!(!request.contains("proxy-authorization"), "{request}");
}

#[tokio::test]
async fn http_is_given_to_the_proxy_whole() {
    let proxy = FakeProvider::start(vec![Reply::says("responses", &["ok"])]).await;
    let url = format!("http://ada:hunter2@{}", proxy.address());
    let members = members("http://provider.test/v1");
    let outcome = ask_with(members, &[("http_proxy", &url)]).await;
    assert_eq!(outcome, Ok("ok".to_owned()));
    let [request] = &proxy.requests()[..] else {
        panic!("one request")
    };
    let line = "POST http://provider.test/v1/responses HTTP/1.1\r\n";
    assert!(request.starts_with(line), "{request}");
    assert!(
        request.contains("proxy-authorization: Basic YWRhOmh1bnRlcjI=\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn socks_takes_name_and_password() {
    let provider = FakeProvider::start(vec![Reply::says("responses", &["ok"])]).await;
    let proxy = SocksProxy::start(provider.address()).await;
    let url = format!("socks5h://ada:hunter2@{}", proxy.address());
    let members = members("http://provider.test/v1");
    let outcome = ask_with(members, &[("ALL_PROXY", &url)]).await;
    assert_eq!(outcome, Ok("ok".to_owned()));
    assert_eq!(proxy.requests(), ["ada:hunter2 provider.test:80"]);
}

#[tokio::test]
async fn no_proxy_goes_straight() {
    let provider = FakeProvider::start(vec![Reply::says("responses", &["ok"]); 3]).await;
    let proxy = HttpProxy::start(provider.address(), "200 Established").await;
    let url = format!("http://{}", proxy.address());
    let port = provider.address().port();
    let members = |more: Value| {
        let mut members = members(format!("http://localhost:{port}/v1"));
        members
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        members
    };
    // loopback, which a proxy of the environment would not find
    let outcome = ask_with(members(json!({})), &[("HTTP_PROXY", &url)]).await;
    assert_eq!((outcome, proxy.requests().len()), (Ok("ok".to_owned()), 0));
    let through = json!({"proxy": url});
    let outcome = ask_with(members(through.clone()), &[("NO_PROXY", "localhost")]).await;
    assert_eq!((outcome, proxy.requests().len()), (Ok("ok".to_owned()), 0));
    let outcome = ask_with(members(through), &[("NO_PROXY", "elsewhere")]).await;
    assert!(
        outcome.is_err(),
        "this proxy knows CONNECT only: {outcome:?}"
    );
    assert_eq!(proxy.requests().len(), 1);
}

#[tokio::test]
async fn a_proxy_that_refuses_or_is_not_there_is_named_without_its_password() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody_s = nobody.local_addr().unwrap();
    drop(nobody);
    for (status, expect) in [
        (
            "407 Proxy Authentication Required",
            "does not let the request through",
        ),
        ("502 Bad Gateway", "does not let the request through"),
        ("", "does not let the request through"),
        ("nobody", "cannot be reached"),
    ] {
        let proxy = HttpProxy::start(nobody_s, status).await;
        let address = if status == "nobody" {
            nobody_s
        } else {
            proxy.address()
        };
        let mut members = members("https://provider.test/v1");
        members["proxy"] = json!(format!("http://ada:hunter2@{address}"));
        let words = ask_with(members, &[]).await.unwrap_err();
        assert!(
            words.starts_with(&format!("The proxy {address} {expect}")),
            "{words}"
        );
        assert!(!words.contains("hunter2"), "{words}");
    }
}
