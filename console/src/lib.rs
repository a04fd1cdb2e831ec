//! The console of Bailiwick: a small web page over an audit log and the policy behind it.
//!
//! It shows refusals as they come, the row that decided each, whether the log is whole, and how the
//! server is doing. It reads files and changes none. A page is made on the server, needs nothing
//! from elsewhere, and asks for itself again when a server-sent event says that there is news.
//!
//! The console is bound to this machine and asks for a token; see the `README.md` for what protects
//! it. Everything in a record may be an attacker's choice, so that there is exactly one way from a
//! record to a page: `text` shows what hides, and the template escapes for HTML.
#![forbid(unsafe_code)]

mod access;
mod cards;
mod events;
mod exposition;
mod filter;
mod follow;
mod integrity;
mod metrics;
mod news;
mod pages;
mod plot;
mod policy;
mod record_page;
mod refusals;
mod seals;
mod search;
mod server;
mod suggestions;
mod text;
mod token;

pub use access::Reach;
pub use metrics::{BadMetricsUrl, MetricsUrl};
pub use server::{Config, ConsoleError, Running, start};
pub use token::{MIN_TOKEN, Token, TokenError};
