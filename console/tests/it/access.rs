//! Who gets in, and what a page may do.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use bailiwick_console::{Config, ConsoleError, Reach, Token, TokenError, start};

use crate::world::{Console, TOKEN, World, request};

#[tokio::test]
async fn without_the_token_nothing_is_shown_and_it_is_said_what_to_do() {
    let console = World::new().console().await;
    for path in ["/", "/record/1", "/policy", "/suggest", "/events", "/console.js", "/nowhere"] {
        for cookie in ["", "Cookie: bailiwick_console_0=x\r\n"] {
            let answer = console.raw(&request("GET", path, cookie)).await;
            assert_eq!(answer.status, 401, "{path}");
            assert!(answer.body.contains("?token=…"), "{path}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_gives_no_cookie() {
    let console = World::new().console().await;
    for token in
        ["", "x", &TOKEN[1..], &format!("{TOKEN}0"), &TOKEN.to_uppercase(), &console.cookie]
    {
        let answer = console.raw(&request("GET", &format!("/?token={token}"), "")).await;
        assert_eq!((answer.status, answer.header("set-cookie")), (401, None), "{token}");
    }
}

#[tokio::test]
async fn the_token_is_exchanged_for_a_cookie_that_is_not_the_token() {
    let console = World::new().console().await;
    let answer = console.raw(&request("GET", &format!("/?token={TOKEN}"), "")).await;
    let cookie = answer.header("set-cookie").unwrap();
    let port = console.running.address().port();
    assert!(cookie.starts_with(&format!("bailiwick_console_{port}=")), "{cookie}");
    assert!(cookie.contains("; HttpOnly; SameSite=Strict; Path=/"), "{cookie}");
    assert!(!cookie.contains(TOKEN));
    let as_cookie = format!("Cookie: bailiwick_console_{port}={TOKEN}\r\n");
    assert_eq!(console.raw(&request("GET", "/", &as_cookie)).await.status, 401);
}

#[tokio::test]
async fn a_cookie_ends_with_its_console() {
    let world = World::new();
    let first = world.console().await;
    let second = world.console().await;
    assert_eq!(first.get("/").await.status, 200);
    let value = first.cookie.split('=').nth(1).unwrap();
    let port = second.running.address().port();
    let stale = format!("Cookie: bailiwick_console_{port}={value}\r\n");
    assert_eq!(second.raw(&request("GET", "/", &stale)).await.status, 401);
}

#[tokio::test]
async fn every_answer_keeps_the_browser_strict() {
    let console = World::new().console().await;
    let unauthorised = console.raw(&request("GET", "/", "")).await;
    let wrong_host = console.raw("GET / HTTP/1.1\r\nHost: a.b\r\nConnection: close\r\n\r\n").await;
    let mut answers = vec![unauthorised, wrong_host];
    for path in ["/", "/policy", "/nowhere", "/style.css", "/console.js", "/record/x", "/?since=x"]
    {
        answers.push(console.get(path).await);
    }
    for answer in answers {
        let csp = answer.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "form-action 'self'",
            "base-uri 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(csp.split("; ").any(|found| found == part), "{part} in {csp}");
        }
        assert!(!csp.contains("unsafe") && !csp.contains('*'), "{csp}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    }
}

#[tokio::test]
async fn pages_have_no_inline_script_or_style_and_load_nothing_from_elsewhere() {
    let console = World::new().console().await;
    for path in ["/", "/policy", "/suggest"] {
        let page = console.get(path).await.body;
        for foreign in ["<style", " style=", " onclick", "javascript:", "http://", "https://", "//"]
        {
            assert!(!page.contains(foreign), "{foreign} in {path}");
        }
        assert_eq!(page.matches("<script").count(), 1, "{path}");
        assert!(page.contains("<script src=\"/console.js\" defer></script>"));
    }
}

#[tokio::test]
async fn only_our_own_names_are_answered_so_that_no_stranger_can_rebind_his() {
    let console = World::new().console().await;
    let cookie = &console.cookie;
    let ask = async |first: &str, host: &str| {
        console
            .raw(&format!(
                "GET {first} HTTP/1.1\r\n{host}Connection: close\r\nCookie: {cookie}\r\n\r\n"
            ))
            .await
            .status
    };
    for host in
        ["127.0.0.1", "127.0.0.1:7480", "localhost:8000", "LOCALHOST", "[::1]:7480", "127.9.9.9"]
    {
        assert_eq!(ask("/", &format!("Host: {host}\r\n")).await, 200, "{host}");
    }
    for host in [
        "evil.example",
        "127.0.0.1.nip.io",
        "localhost.evil.example",
        "10.0.0.7",
        "user@127.0.0.1",
        "",
        "a b",
    ] {
        assert_eq!(ask("/", &format!("Host: {host}\r\n")).await, 421, "{host}");
    }
    assert_eq!(ask("/", "").await, 421);
    assert_eq!(ask("/", "Host: 127.0.0.1\r\nHost: evil.example\r\n").await, 421);
    assert_eq!(ask("http://evil.example/", "Host: 127.0.0.1\r\n").await, 421);
}

#[tokio::test]
async fn the_console_changes_nothing_and_takes_nothing() {
    let console = World::new().console().await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let cookie = format!("Cookie: {}\r\nContent-Length: 0\r\n", console.cookie);
        let answer = console.raw(&request(method, "/", &cookie)).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[tokio::test]
async fn another_machine_gets_in_only_if_that_was_meant() {
    let world = World::new();
    let config = Config { listen: "0.0.0.0:0".parse().unwrap(), ..world.config() };
    assert!(matches!(start(config).await, Err(ConsoleError::Remote(_))));

    let config = Config {
        listen: "0.0.0.0:0".parse().unwrap(),
        reach: Reach::Remote,
        hosts: vec!["console.example".to_owned()],
        ..world.config()
    };
    let mut remote = Console { running: start(config).await.unwrap(), cookie: String::new() };
    let login = remote.raw(&request("GET", &format!("/?token={TOKEN}"), "")).await;
    remote.cookie = login.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    for (host, status) in [("console.example:443", 200), ("10.0.0.7", 200), ("evil.example", 421)] {
        let get = format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nCookie: {}\r\n\r\n",
            remote.cookie
        );
        assert_eq!(remote.raw(&get).await.status, status, "{host}");
    }
}

#[test]
fn a_token_file_must_be_secret_and_strong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let write = |text: &str, mode| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Token::read(&path)
    };
    assert!(matches!(Token::read(&path), Err(TokenError::Io { .. })));
    assert!(matches!(write(TOKEN, 0o640), Err(TokenError::OthersMayRead { .. })));
    for weak in ["", "hunter2", &TOKEN[1..], &format!("{TOKEN} {TOKEN}"), &format!("{TOKEN}&a=b")] {
        assert!(matches!(write(weak, 0o600), Err(TokenError::Unfit { .. })), "{weak}");
    }
    assert!(matches!(Token::read(folder.path()), Err(TokenError::Io { .. })));
    let token = write(&format!("{TOKEN}\n"), 0o400).unwrap();
    assert_eq!((token.reveal(), &*format!("{token:?}")), (TOKEN, "Token(…)"));
    assert_eq!(Token::random().reveal().len(), 64);
    assert_ne!(Token::random().reveal(), Token::random().reveal());
}
