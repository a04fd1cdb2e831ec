//! Server-sent events: that there is something new, to so many windows and so often at most.
//!
//! An event carries no content. The page asks for itself again and puts the new rows in its place,
//! so that there is one way from a record to a screen, and it escapes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::pages::Notice;
use crate::server::Console;

/// Most windows that get news at once.
pub(crate) const MAX_LISTENERS: usize = 16;

/// Shortest time between two events to one window.
const PAUSE: Duration = Duration::from_millis(500);

/// Longest time without an event: ages and plots go on though nothing comes.
const PULSE: Duration = Duration::from_secs(5);

pub(crate) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_LISTENERS))
}

/// `GET /events`.
pub(crate) async fn events(State(console): State<Arc<Console>>) -> Response {
    let Ok(place) = Arc::clone(&console.listeners).try_acquire_owned() else {
        let text = format!("{MAX_LISTENERS} windows of this console are open; close one.");
        let notice = Notice::new(StatusCode::SERVICE_UNAVAILABLE, "Too many windows", &text);
        return ([(RETRY_AFTER, "30")], notice).into_response();
    };
    let news = console.news.listen();
    let stream = stream::unfold((news, place, 0_u64), |(mut news, place, count)| async move {
        if count > 0 {
            sleep(PAUSE).await;
            // Nobody tells any more when the console ends, and neither do we.
            if let Ok(Err(_)) = timeout(PULSE, news.changed()).await {
                return None;
            }
        }
        let event = Event::default().event("news").data(count.to_string());
        Some((Ok::<_, Infallible>(event), (news, place, count + 1)))
    });
    Sse::new(stream).into_response()
}
