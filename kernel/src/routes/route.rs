//! Paths and methods: what the kernel's routes are called.

use http::Method;

use crate::problem::{Code, Problem};

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Api { module: &'a str, path: &'a str },
    Health,
    Document,
    Metrics,
    Sessions,
    CurrentSession,
    Session(&'a str),
    RenewSession(&'a str),
    Modules,
    Module(&'a str),
    ReloadModule(&'a str),
    ModuleDocument(&'a str),
    RotateKeys,
    LogLevel,
    Events,
    Bridge,
}

impl Route<'_> {
    pub(super) fn parse(path: &str) -> Option<Route<'_>> {
        if let Some(rest) = path.strip_prefix("/api/") {
            let (module, path) = rest
                .find('/')
                .map_or((rest, "/"), |slash| rest.split_at(slash));
            return (!module.is_empty()).then_some(Route::Api { module, path });
        }
        let mut segments = path.strip_prefix('/')?.split('/');
        let route = match (segments.next()?, segments.next(), segments.next()) {
            ("health", None, None) => Route::Health,
            ("openapi.json", None, None) => Route::Document,
            ("metrics", None, None) => Route::Metrics,
            ("sessions", None, None) => Route::Sessions,
            ("sessions", Some("current"), None) => Route::CurrentSession,
            ("sessions", Some(id), None) if !id.is_empty() => Route::Session(id),
            ("sessions", Some(id), Some("renew")) if !id.is_empty() => Route::RenewSession(id),
            ("modules", None, None) => Route::Modules,
            ("modules", Some(name), None) if !name.is_empty() => Route::Module(name),
            ("modules", Some(name), Some("reload")) if !name.is_empty() => {
                Route::ReloadModule(name)
            }
            ("modules", Some(name), Some("openapi.json")) if !name.is_empty() => {
                Route::ModuleDocument(name)
            }
            ("keys", Some("rotate"), None) => Route::RotateKeys,
            ("log-level", None, None) => Route::LogLevel,
            ("events", None, None) => Route::Events,
            ("bridge", None, None) => Route::Bridge,
            _ => return None,
        };
        segments.next().is_none().then_some(route)
    }

    /// The methods of a route, for `Allow`. HEAD comes with GET (RFC 9110 section 9.3.2).
    fn methods(&self) -> &'static [Method] {
        match self {
            Route::Api { .. } => &[],
            Route::Health
            | Route::Document
            | Route::Metrics
            | Route::Modules
            | Route::ModuleDocument(_)
            | Route::Events
            | Route::Bridge => &[Method::GET],
            Route::Sessions => &[Method::GET, Method::POST, Method::DELETE],
            Route::CurrentSession | Route::Session(_) => &[Method::GET, Method::DELETE],
            Route::RenewSession(_) | Route::ReloadModule(_) | Route::RotateKeys => &[Method::POST],
            Route::Module(_) => &[Method::GET, Method::PUT, Method::DELETE],
            Route::LogLevel => &[Method::GET, Method::PUT],
        }
    }

    pub(super) fn check_method(&self, method: &Method) -> Result<(), Problem> {
        let methods = self.methods();
        let meant = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        if methods.is_empty() || methods.contains(meant) {
            return Ok(());
        }
        let allow = match methods {
            [Method::GET] => "GET, HEAD",
            [Method::POST] => "POST",
            [Method::GET, Method::DELETE] => "GET, HEAD, DELETE",
            [Method::GET, Method::PUT] => "GET, HEAD, PUT",
            [Method::GET, Method::PUT, Method::DELETE] => "GET, HEAD, PUT, DELETE",
            _ => "GET, HEAD, POST, DELETE",
        };
        Err(Problem::new(Code::MethodNotAllowed, format!("this route takes {allow}")).allow(allow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_routes() {
        for (path, expect) in [
            ("/health", Some(Route::Health)),
            ("/health/", None),
            ("/sessions", Some(Route::Sessions)),
            ("/sessions/", None),
            ("/sessions/current", Some(Route::CurrentSession)),
            ("/sessions/ses_1", Some(Route::Session("ses_1"))),
            ("/sessions/ses_1/renew", Some(Route::RenewSession("ses_1"))),
            ("/sessions/ses_1/renew/x", None),
            ("/modules/hello/reload", Some(Route::ReloadModule("hello"))),
            (
                "/modules/hello/openapi.json",
                Some(Route::ModuleDocument("hello")),
            ),
            (
                "/api/hello",
                Some(Route::Api {
                    module: "hello",
                    path: "/",
                }),
            ),
            (
                "/api/hello/",
                Some(Route::Api {
                    module: "hello",
                    path: "/",
                }),
            ),
            (
                "/api/hello/a//b",
                Some(Route::Api {
                    module: "hello",
                    path: "/a//b",
                }),
            ),
            ("/api/", None),
            ("/api", None),
            ("/", None),
            ("*", None),
        ] {
            assert_eq!(Route::parse(path), expect, "{path}");
        }
    }
}
