//! Tables of requests, and what the guard says to them.

use super::*;

const HERE: &str = "127.0.0.1:23402";

/// A header, and what is asked with which of them to which end.
type Line = (&'static str, &'static str);
type Case<'a> = (&'a str, &'a [Line], u16);

fn access(token: Option<&str>, loopback: bool) -> Access {
    Access {
        token: token.map(Token::new),
        hosts: vec!["nas.example".into()],
        loopback,
        may_inject_faults: false,
    }
}

/// What the guard says to a request: the status, 200 if it lets it in.
fn asked(access: &Access, method: &Method, uri: &str, lines: &[Line]) -> u16 {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    let arrived = Some("192.0.2.7".parse().unwrap());
    let asked = Asked { method, uri: &uri.parse().unwrap(), headers: &headers, arrived };
    asked.check(access).map_or_else(|fault| fault.status.as_u16(), |()| 200)
}

#[test]
fn only_hosts_of_ours_are_answered() {
    let access = access(None, true);
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:23402", 200),
        ("127.0.0.1", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:23402", 200),
        ("[::1]", 200),
        ("192.0.2.7:23402", 200),
        ("nas.example", 200),
        ("Nas.Example:80", 200),
        ("evil.example", 421),
        ("localhost.evil", 421),
        ("localhost.", 421),
        ("evil@localhost", 421),
        ("localhost:80@evil.example", 421),
        ("localhost:evil", 421),
        ("127.0.0.1.evil.example", 421),
        ("192.0.2.8", 421),
        ("[::1", 421),
        ("[::1]x", 421),
        ("[::2]", 421),
        ("", 421),
    ] {
        for path in ["/", "/api/status", "/offsystem/v4/a"] {
            assert_eq!(asked(&access, &Method::GET, path, &[("host", host)]), status, "{host}");
        }
    }
    assert_eq!(asked(&access, &Method::GET, "/", &[]), 421, "none");
    let two = [("host", HERE), ("host", HERE)];
    assert_eq!(asked(&access, &Method::GET, "/", &two), 421, "two");
    let whole = "http://evil.example/";
    assert_eq!(asked(&access, &Method::GET, whole, &[("host", HERE)]), 421, "in the URL");
}

#[test]
fn pages_of_others_change_nothing() {
    let access = access(Some("sesame"), true);
    let (api, put) = ("/api/urls/pin", "/v4/name");
    let ours = ("offswarm-request", "1");
    let origin = ("origin", "http://127.0.0.1:23402");
    let cases: &[Case<'_>] = &[
        (api, &[], 403),
        (api, &[ours], 200),
        (api, &[("offswarm-request", "2")], 403),
        (api, &[ours, origin], 200),
        (api, &[origin], 403),
        (api, &[ours, ("origin", "null")], 403),
        (api, &[ours, ("origin", "http://evil.example")], 403),
        (api, &[ours, ("origin", "http://127.0.0.1:8080")], 403),
        (api, &[ours, ("origin", "https://127.0.0.1:23402")], 403),
        (api, &[ours, origin, ("origin", "null")], 403),
        (api, &[ours, ("sec-fetch-site", "cross-site")], 403),
        (api, &[ours, origin, ("sec-fetch-site", "same-origin")], 200),
        (api, &[("authorization", "Bearer sesame")], 200),
        (api, &[("authorization", "Bearer wrong")], 403),
        (api, &[("authorization", "Bearer sesame"), ("origin", "null")], 403),
        (put, &[], 200),
        (put, &[origin], 200),
        (put, &[("origin", "null")], 403),
        (put, &[("origin", "http://evil.example")], 403),
        (put, &[("sec-fetch-site", "none")], 200),
        (put, &[("sec-fetch-site", "same-site")], 403),
        (put, &[("sec-fetch-site", "cross-site")], 403),
    ];
    for (path, lines, status) in cases {
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let lines = [&[("host", HERE)], *lines].concat();
            let found = asked(&access, &method, path, &lines);
            assert_eq!(found, *status, "{path} {lines:?}");
        }
    }
}

/// A proxy that speaks HTTPS for us is known by the name that was configured for it.
#[test]
fn a_configured_name_may_be_that_of_a_proxy() {
    let access = Access { hosts: vec!["nas.example".into()], ..access(None, true) };
    for (host, origin, status) in [
        ("nas.example", "https://nas.example", 200),
        ("nas.example", "http://nas.example", 200),
        ("nas.example", "https://nas.example:8443", 403),
        ("localhost", "https://localhost", 403),
    ] {
        let lines = [("host", host), ("origin", origin)];
        assert_eq!(asked(&access, &Method::PUT, "/v4/name", &lines), status, "{origin}");
    }
}

#[test]
fn pages_of_others_cannot_listen_either() {
    let access = access(None, true);
    let cases: &[Case<'_>] = &[
        ("/api/events", &[], 200),
        ("/api/events", &[("origin", "http://evil.example")], 403),
        ("/api/events", &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")], 403),
        (
            "/api/openapi.json",
            &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],
            200,
        ),
        ("/offsystem/v4/a", &[("sec-fetch-site", "cross-site")], 200),
        ("/offsystem/v4/a", &[("origin", "null")], 200),
    ];
    for (path, lines, status) in cases {
        let lines = [&[("host", HERE)], *lines].concat();
        assert_eq!(asked(&access, &Method::GET, path, &lines), *status, "{path} {lines:?}");
    }
}

#[test]
fn whoever_is_not_on_this_machine_needs_the_token() {
    let open = access(Some("sesame"), false);
    // `any:sesame`, `:sesame`, `sesame:`, `any:wrong`
    for (authorization, status) in [
        ("Bearer sesame", 200),
        ("bearer sesame", 200),
        ("Basic YW55OnNlc2FtZQ==", 200),
        ("Basic OnNlc2FtZQ==", 200),
        ("Basic c2VzYW1lOg==", 401),
        ("Basic YW55Ondyb25n", 401),
        ("Basic !", 401),
        ("Bearer wrong", 401),
        ("Bearer ", 401),
        ("sesame", 401),
    ] {
        let lines = [("host", HERE), ("authorization", authorization)];
        for path in ["/", "/healthz", "/api/status", "/offsystem/v4/a"] {
            assert_eq!(asked(&open, &Method::GET, path, &lines), status, "{authorization}");
        }
    }
    assert_eq!(asked(&open, &Method::GET, "/", &[("host", HERE)]), 401);
    // Without a token nobody is let in, whatever they say.
    let lines = [("host", HERE), ("authorization", "Bearer ")];
    assert_eq!(asked(&access(None, false), &Method::GET, "/", &lines), 401);
}
