//! Who may see a page: the right host, the right token, and headers that keep a page to itself.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, LOCATION, REFERRER_POLICY,
    SET_COOKIE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::pages::Notice;
use crate::token::Token;

/// What a browser may do with a page: show it with our own style, script and news, and no more.
pub(crate) const CONTENT_SECURITY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; \
    frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Paths that need no token: what the page that asks for one looks like.
const OPEN: [&str; 2] = ["/style.css", "/icon.svg"];

/// Who may come in.
#[derive(Debug)]
pub(crate) struct Access {
    token: Token,
    /// Exchanged for the token: it ends with this process, and does not tell the token.
    cookie: Token,
    cookie_name: String,
    reach: Reach,
    hosts: Vec<String>,
}

/// From where the console may be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// From this machine only.
    #[default]
    Loopback,
    /// From others too: whoever is on the way can read the token, for this is plain HTTP.
    Remote,
}

impl Access {
    /// `port` tells the cookies of several consoles on one machine apart. `hosts` are names under
    /// which a remote console is asked for.
    pub(crate) fn new(token: Token, port: u16, reach: Reach, hosts: Vec<String>) -> Self {
        let cookie_name = format!("bailiwick_console_{port}");
        Self { token, cookie: Token::random(), cookie_name, reach, hosts }
    }

    /// Whether the browser asked for us by a name that nobody else can point here. A page of a
    /// stranger whose name resolves to this machine (DNS rebinding) has its own name here.
    fn knows_host(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        let mut given = headers.get_all(HOST).iter();
        let (Some(host), None) = (given.next(), given.next()) else { return false };
        let host = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        let Some(host) = host else { return false };
        // A request may name an authority in its first line as well.
        [Some(&host), uri.authority()].into_iter().flatten().all(|host| self.is_ours(host))
    }

    fn is_ours(&self, authority: &Authority) -> bool {
        if authority.as_str().contains('@') {
            return false;
        }
        let host = authority.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match (bare.parse::<IpAddr>(), self.reach) {
            (Ok(ip), Reach::Loopback) => ip.is_loopback(),
            // An address cannot be pointed elsewhere.
            (Ok(_), Reach::Remote) => true,
            (Err(_), _) => {
                bare.eq_ignore_ascii_case("localhost")
                    || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(bare))
            }
        }
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|cookie| cookie.to_str().ok());
        cookies.flat_map(|cookies| cookies.split(';')).any(|cookie| {
            let pair = cookie.trim().split_once('=');
            pair.is_some_and(|(name, value)| name == self.cookie_name && self.cookie.is(value))
        })
    }

    /// Gives the cookie and leads away from the URL with the token, which would stay in a history.
    fn exchange(&self) -> Response {
        let cookie = format!(
            "{}={}; HttpOnly; SameSite=Strict; Path=/",
            self.cookie_name,
            self.cookie.reveal()
        );
        let mut response = StatusCode::SEE_OTHER.into_response();
        let headers = response.headers_mut();
        headers.insert(LOCATION, HeaderValue::from_static("/"));
        if let Ok(mut cookie) = HeaderValue::from_str(&cookie) {
            cookie.set_sensitive(true);
            headers.insert(SET_COOKIE, cookie);
        }
        response
    }
}

/// Stands before every page.
pub(crate) async fn guard(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    with_headers(admit(&access, request, next).await)
}

async fn admit(access: &Access, request: Request, next: Next) -> Response {
    if !access.knows_host(request.headers(), request.uri()) {
        let text = "This console answers to its own address only: open the URL that it printed. \
                    For another name start it with --host NAME.";
        return Notice::new(StatusCode::MISDIRECTED_REQUEST, "Wrong host", text).into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let text = "The console only shows; it changes nothing.";
        let mut refused =
            Notice::new(StatusCode::METHOD_NOT_ALLOWED, "Nothing to do here", text).into_response();
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let path = request.uri().path();
    if OPEN.contains(&path) {
        return next.run(request).await;
    }
    if path == "/"
        && let Some(token) = presented(request.uri())
    {
        return if access.token.is(token) { access.exchange() } else { unknown() };
    }
    if access.has_cookie(request.headers()) { next.run(request).await } else { unknown() }
}

/// The token in a URL.
fn presented(uri: &Uri) -> Option<&str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("token="))
}

fn unknown() -> Response {
    let text = "Open the URL with ?token=… that the console printed when it started, or put the \
                token of its --token-file there. The token is new at every start unless it comes \
                from a file, and a window that was open before must be opened anew.";
    Notice::new(StatusCode::UNAUTHORIZED, "This console needs its token", text).into_response()
}

fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, CONTENT_SECURITY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
