//! Which way leads to the provider: straight, or through which proxy. Decided once, since there is one provider.

use http::uri::Scheme;
use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use crate::config::Hidden;

/// As configured; what is left out is read from the environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProxySettings {
    /// May hold a password.
    pub(crate) proxy: Option<Hidden>,
    /// Hosts that are reached straight: names with all below them, addresses, networks, `*`; with commas between.
    pub(crate) no_proxy: Option<String>,
}

#[derive(Clone, PartialEq)]
pub(super) enum Route {
    Straight,
    /// Whole requests are given to the proxy, in clear (RFC 9112 section 3.2.2): for `http` addresses.
    Forward {
        proxy: Uri,
        authorization: Option<HeaderValue>,
    },
    /// A tunnel through the proxy (RFC 9110 section 9.3.6): for `https` addresses.
    Tunnel {
        proxy: Uri,
        authorization: Option<HeaderValue>,
    },
    /// RFC 1928.
    Socks {
        proxy: Uri,
        login: Option<(String, String)>,
        /// Whether names are looked up here (`socks5`) and not by the proxy (`socks5h`), as curl has it.
        local_dns: bool,
    },
}

impl Route {
    /// Where it leads first, if not straight.
    pub(super) fn proxy(&self) -> Option<&Uri> {
        match self {
            Route::Straight => None,
            Route::Forward { proxy, .. }
            | Route::Tunnel { proxy, .. }
            | Route::Socks { proxy, .. } => Some(proxy),
        }
    }
}

/// SOCKS proxies listen there (RFC 1928 section 3).
const SOCKS_PORT: u16 = 1080;

/// `variable` looks up the environment. A proxy that cannot be used is a mistake that would show as a network that does not
/// work: it is told, and passed over.
pub(super) fn route(
    provider: &Uri,
    settings: &ProxySettings,
    variable: impl Fn(&str) -> Option<String>,
) -> Route {
    let given = |names: [&str; 2]| {
        let mut values = names.into_iter().filter_map(&variable);
        values
            .find(|value| !value.trim().is_empty())
            .unwrap_or_default()
    };
    let no_proxy = settings.no_proxy.clone();
    let no_proxy = no_proxy.unwrap_or_else(|| given(["NO_PROXY", "no_proxy"]));
    if let Some(proxy) = &settings.proxy {
        let matcher = Matcher::builder().all(proxy.expose()).no(no_proxy).build();
        return found(&matcher, provider);
    }
    if is_loopback(provider) {
        return Route::Straight;
    }
    let mut proxies = Matcher::builder().no(no_proxy);
    for names in [
        ["ALL_PROXY", "all_proxy"],
        ["HTTPS_PROXY", "https_proxy"],
        ["HTTP_PROXY", "http_proxy"],
    ] {
        let proxy = given(names);
        if !proxy.is_empty() && !is_usable(&proxy) {
            tracing::warn!(
                variable = names[0],
                "a proxy of the environment is passed over: it is no URL of scheme http, https, socks5 or socks5h"
            );
            continue;
        }
        proxies = match names[0] {
            "ALL_PROXY" => proxies.all(proxy),
            "HTTPS_PROXY" => proxies.https(proxy),
            _ => proxies.http(proxy),
        };
    }
    found(&proxies.build(), provider)
}

/// Whether a proxy's URL can be used at all. One with a path is a mistake, and mostly a password with a slash in it that is not
/// encoded, of which the first half would be taken for the host.
pub(crate) fn is_usable(proxy: &str) -> bool {
    let is_bare = |proxy: Uri| matches!(proxy.path(), "" | "/") && proxy.query().is_none();
    if !proxy.parse().is_ok_and(is_bare) {
        return false;
    }
    let anywhere = Uri::from_static("https://provider.invalid");
    let matcher = Matcher::builder().all(proxy).build();
    found(&matcher, &anywhere) != Route::Straight
}

fn found(matcher: &Matcher, provider: &Uri) -> Route {
    let Some(found) = matcher.intercept(provider) else {
        return Route::Straight;
    };
    let authorization = found.basic_auth().cloned();
    let proxy = found.uri().clone();
    match proxy.scheme_str() {
        Some("socks5") => socks(&found, true),
        Some("socks5h") => socks(&found, false),
        Some("http" | "https") if provider.scheme() == Some(&Scheme::HTTP) => Route::Forward {
            proxy,
            authorization,
        },
        Some("http" | "https") => Route::Tunnel {
            proxy,
            authorization,
        },
        _ => Route::Straight,
    }
}

fn socks(found: &Intercept, local_dns: bool) -> Route {
    let uri = found.uri();
    let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16());
    let port = port.unwrap_or(SOCKS_PORT);
    let proxy = format!("http://{host}:{port}/").parse();
    Route::Socks {
        proxy: proxy.expect("the host of a URL, and a port"),
        login: found
            .raw_auth()
            .map(|(user, password)| (user.to_owned(), password.to_owned())),
        local_dns,
    }
}

/// No proxy that the environment names for the network leads back to this machine; Go's clients have the same rule.
fn is_loopback(provider: &Uri) -> bool {
    let host = provider.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<std::net::IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => {
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            host == "localhost" || host.ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(route: Route) -> String {
        let login = |authorization: Option<HeaderValue>| match authorization {
            Some(value) => format!(" as {}", value.to_str().unwrap()),
            None => String::new(),
        };
        match route {
            Route::Straight => "straight".to_owned(),
            Route::Forward {
                proxy,
                authorization,
            } => format!("forward {proxy}{}", login(authorization)),
            Route::Tunnel {
                proxy,
                authorization,
            } => format!("tunnel {proxy}{}", login(authorization)),
            Route::Socks {
                proxy,
                login,
                local_dns,
            } => format!("socks {proxy} {login:?} {local_dns}"),
        }
    }

    fn check(provider: &str, environment: &[(&str, &str)], expect: &str) {
        let variable = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let route = route(
            &provider.parse().unwrap(),
            &ProxySettings::default(),
            variable,
        );
        assert_eq!(told(route), expect, "{provider} {environment:?}");
    }

    #[test]
    fn the_environment_s_proxies_are_for_their_schemes() {
        let https = "https://api.openai.com/v1";
        let http = "http://provider.test/v1";
        check(https, &[], "straight");
        check(https, &[("HTTPS_PROXY", "")], "straight");
        check(
            https,
            &[("HTTPS_PROXY", "http://p:3128")],
            "tunnel http://p:3128/",
        );
        check(
            https,
            &[("https_proxy", "http://p:3128")],
            "tunnel http://p:3128/",
        );
        check(https, &[("HTTPS_PROXY", "p:3128")], "tunnel http://p:3128/");
        check(http, &[("HTTPS_PROXY", "http://p:3128")], "straight");
        check(http, &[("HTTP_PROXY", "https://p")], "forward https://p/");
        check(http, &[("ALL_PROXY", "http://p")], "forward http://p/");
        check(
            https,
            &[("ALL_PROXY", "http://all"), ("HTTPS_PROXY", "http://p")],
            "tunnel http://p/",
        );
        check(
            https,
            &[("HTTPS_PROXY", "http://ada:pass%20word@p:1")],
            "tunnel http://p:1/ as Basic YWRhOnBhc3Mgd29yZA==",
        );
        check(
            https,
            &[("ALL_PROXY", "socks5h://ada:x@p")],
            r#"socks http://p:1080/ Some(("ada", "x")) false"#,
        );
        check(
            https,
            &[("ALL_PROXY", "socks5://p:9050")],
            "socks http://p:9050/ None true",
        );
        check(https, &[("HTTPS_PROXY", "ftp://p")], "straight");
        check(https, &[("HTTPS_PROXY", "http://a b@p")], "straight");
    }

    #[test]
    fn some_hosts_are_reached_straight() {
        let proxy = ("ALL_PROXY", "http://p");
        let check = |provider: &str, no: &str, expect: &str| {
            check(provider, &[proxy, ("NO_PROXY", no)], expect);
        };
        check("https://api.openai.com/v1", "openai.com", "straight");
        check("https://api.openai.com/v1", ".openai.com", "straight");
        check("https://api.openai.com/v1", "*", "straight");
        check(
            "https://api.openai.com/v1",
            "notopenai.com, ai.com",
            "tunnel http://p/",
        );
        check("http://10.1.2.3:8080/v1", "10.0.0.0/8", "straight");
        check("http://10.1.2.3:8080/v1", "11.0.0.0/8", "forward http://p/");
        for loopback in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "localhost:11434",
            "a.LOCALHOST.",
        ] {
            check(&format!("http://{loopback}/v1"), "", "straight");
        }
        check("http://localhost.example/v1", "", "forward http://p/");
    }

    #[test]
    fn the_configuration_goes_before_the_environment() {
        let environment = |name: &str| match name {
            "ALL_PROXY" => Some("http://wrong".to_owned()),
            "NO_PROXY" => Some("provider.test".to_owned()),
            _ => None,
        };
        let check = |provider: &str, proxy: Option<&str>, no_proxy: Option<&str>, expect: &str| {
            let settings = ProxySettings {
                proxy: proxy.map(Hidden::from),
                no_proxy: no_proxy.map(str::to_owned),
            };
            let route = route(&provider.parse().unwrap(), &settings, environment);
            assert_eq!(told(route), expect, "{provider} {proxy:?} {no_proxy:?}");
        };
        check("https://a.test", Some("http://p"), None, "tunnel http://p/");
        check("https://provider.test", Some("http://p"), None, "straight");
        check(
            "https://provider.test",
            Some("http://p"),
            Some(""),
            "tunnel http://p/",
        );
        check(
            "https://provider.test",
            None,
            Some(""),
            "tunnel http://wrong/",
        );
        check("https://a.test", None, Some("*"), "straight");
        check(
            "http://127.0.0.1:1",
            Some("http://p"),
            None,
            "forward http://p/",
        );
    }

    #[test]
    fn a_proxy_is_usable_or_not() {
        let usable = [
            "http://p",
            "https://p:1",
            "socks5://p",
            "socks5h://u:p@p:1",
            "p:3128",
        ];
        assert!(usable.into_iter().all(is_usable));
        let unusable = [
            "",
            "ftp://p",
            "socks4://p",
            "http://a b",
            "/p",
            "http://p@ss:w/rd@p",
        ];
        let wrong: Vec<_> = unusable.into_iter().filter(|url| is_usable(url)).collect();
        assert_eq!(wrong, [""; 0]);
    }
}
