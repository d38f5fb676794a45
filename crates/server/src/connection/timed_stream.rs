//! Limits the time that a client may take to read the response of an h2 stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::connection::activity::{Activity, Event};

/// The future that hyper creates for an h2 stream: it receives the request and sends the response.
pub(crate) type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The time limits for reading a response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseTimes {
    /// The longest time in which the client reads no byte of it.
    pub(crate) part: Duration,
    /// The longest time until the client has read all of it.
    pub(crate) whole: Duration,
}

/// Runs a stream that is pending, and ends it if its response is not read in time; h2 then resets it.
pub(crate) struct TimedStream {
    stream: Stream,
    activity: Arc<Activity>,
    times: ResponseTimes,
    /// Set once there is a response: when all of it has to be read, and the timer of the next part.
    response: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl TimedStream {
    /// Takes over a stream that has just been polled and is pending.
    pub(crate) fn new(stream: Stream, activity: Arc<Activity>, times: ResponseTimes) -> Self {
        let mut new = Self { stream, activity, times, response: None };
        new.set_timer();
        new
    }

    /// Sets the timer after the stream was polled.
    fn set_timer(&mut self) {
        let Some(event) = self.activity.take_event() else { return };
        let now = Instant::now();
        let next = now + self.times.part;
        match (event, &mut self.response) {
            (Event::Responded, response) => {
                let timer = Box::pin(tokio::time::sleep_until(next));
                *response = Some((now + self.times.whole, timer));
            }
            (Event::Progress, Some((end, timer))) => timer.as_mut().reset(next.min(*end)),
            (Event::Progress, None) => {}
        }
    }
}

impl Future for TimedStream {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let end = self.stream.as_mut().poll(cx);
        self.set_timer();
        if end.is_ready() {
            return end;
        }
        let Some((_, timer)) = &mut self.response else { return Poll::Pending };
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.activity.set_overdue();
        Poll::Ready(())
    }
}
