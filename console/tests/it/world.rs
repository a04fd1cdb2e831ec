//! What the tests share: a folder with a log and a policy, a console over them, and a client.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use bailiwick_acl::audit::{AuditLog, Builder, Event, Record};
use bailiwick_acl::monitor::Recorded;
use bailiwick_acl::policy::{KeysRequired, LoadOptions, Policy, Source};
use bailiwick_acl::{Monitor, Request};
use bailiwick_console::{Config, Reach, Running, Token, start};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

pub(crate) const POLICY: &str = "\
acl 1
group @course = alice, bob
@course | course/*  | read       | allow
alice   | course/** | write      | allow
*       | grades/** | *          | deny
bob     | grades/a  | read       | allow
mallory | nothing   | read       | allow
";

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Longest time that something may take to show.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) audit: PathBuf,
    pub(crate) policy: PathBuf,
}

/// What a page came to.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value)
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (audit, policy) = (folder.path().join("audit.jsonl"), folder.path().join("policy.acl"));
        fs::write(&policy, POLICY).unwrap();
        Self { folder, audit, policy }
    }

    pub(crate) fn log(&self) -> Builder {
        let random = |bytes: &mut [u8]| rand::fill(bytes);
        AuditLog::builder("n1", random).file(&self.audit).reserve(64 * 1_024)
    }

    pub(crate) fn monitor(&self) -> Monitor {
        let options = LoadOptions { keys: KeysRequired::Tool, ..LoadOptions::default() };
        let name = self.policy.display().to_string();
        let text = fs::read(&self.policy).unwrap();
        let policy = Policy::load(Source { name: &name, text: &text }, &options).unwrap().policy;
        Monitor::new(policy, self.log().open().unwrap(), SystemTime::now).unwrap()
    }

    pub(crate) fn config(&self) -> Config {
        let file = self.folder.path().join("token");
        fs::write(&file, TOKEN).unwrap();
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&file, permissions).unwrap();
        Config {
            audit: self.audit.clone(),
            anchor: None,
            policy: self.policy.clone(),
            principals: None,
            metrics: None,
            listen: "127.0.0.1:0".parse().unwrap(),
            reach: Reach::Loopback,
            hosts: Vec::new(),
            token: Token::read(&file).unwrap(),
        }
    }

    pub(crate) async fn console(&self) -> Console {
        Console::start(self.config()).await
    }
}

/// Asks the monitor for something that it refuses or allows.
pub(crate) fn ask(monitor: &Monitor, principal: &str, verb: &str, object: &str) {
    let mut caller = monitor.caller(principal, [7; 8], "10.0.0.7:5123").unwrap();
    let request = Request {
        service: "Course",
        method: "ask",
        verb,
        objects: &[object],
        mutating: false,
        recorded: Recorded::AsTheServerSays,
        arguments: &[],
        call: 1,
    };
    let _ = monitor.authorize(&mut caller, &request);
}

/// A refusal with these texts, whatever they are.
pub(crate) fn denial(object: &str) -> Record<'_> {
    use bailiwick_acl::policy::{Effect, Reason};
    Record {
        principal: Some("alice"),
        verb: Some("read"),
        object: Some(object),
        ..Record::of(Event::Decision).judged(Effect::Deny, Reason::Default)
    }
}

/// A console and a browser that has its cookie.
pub(crate) struct Console {
    pub(crate) running: Running,
    pub(crate) cookie: String,
}

impl Console {
    pub(crate) async fn start(config: Config) -> Self {
        let running = start(config).await.unwrap();
        let mut console = Self { running, cookie: String::new() };
        let answer = console.raw(&request("GET", &format!("/?token={TOKEN}"), "")).await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{answer:?}");
        let cookie = answer.header("set-cookie").unwrap();
        console.cookie = cookie.split(';').next().unwrap().to_owned();
        console
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.raw(&request("GET", path, &format!("Cookie: {}\r\n", self.cookie))).await
    }

    /// Sends this text and reads to the end, which must come.
    pub(crate) async fn raw(&self, request: &str) -> Answer {
        tokio::time::timeout(PATIENCE, self.exchange(request)).await.unwrap()
    }

    async fn exchange(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.running.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.unwrap();
        let text = String::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// Asks for a page until it is as wanted.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let answer = self.get(path).await;
            if answer.status == 200 && wanted(&answer.body) {
                return answer.body;
            }
            if began.elapsed() > PATIENCE {
                let Answer { status, body, .. } = answer;
                // What matters is at the beginning, and the whole page is long.
                let seen: String = body.chars().take(5_000).collect();
                panic!("{path} never came to be as wanted: {status} {seen}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Opens the stream of events; gives its lines as they come.
    pub(crate) async fn events(&self) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.running.address()).await.unwrap();
        let cookie = &self.cookie;
        let get = format!("GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\n\r\n");
        stream.write_all(get.as_bytes()).await.unwrap();
        BufReader::new(stream)
    }
}

/// A request that ends its connection.
pub(crate) fn request(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}\r\n")
}

/// Waits for a line of this kind.
pub(crate) async fn line(events: &mut BufReader<TcpStream>, start: &str) -> String {
    let read = async {
        loop {
            let mut line = String::new();
            assert!(events.read_line(&mut line).await.unwrap() > 0, "the stream ended");
            if line.starts_with(start) {
                return line;
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap()
}

/// The cells of the list that are in this column.
pub(crate) fn column<'p>(page: &'p str, class: &str) -> Vec<&'p str> {
    let start = format!("class=\"{class}\"><bdi>");
    page.split(&start).skip(1).filter_map(|rest| rest.split("</bdi>").next()).collect()
}
