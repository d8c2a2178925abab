//! What feeds a watch: an HTTP stream of its own, opened again whenever it is lost.
//!
//! This is the only part of the engine that knows how a watch's messages get here. It gives them to the account, and
//! what the account makes of them to whoever consumes; a feed that shares one connection among many watches would do
//! the same.

use super::WatchOptions;
use super::account::{Account, Deliver, Settings};
use super::interruption::Interruption;
use crate::channel::{self, Channel, Grant, Kind, Method, Size};
use crate::client::Client;
use crate::error::{Error, Outcome, Phase, Result};
use crate::gateway::frames::MessageStream;
use crate::gateway::json::{Encode, Writer};
use crate::limits;
use crate::log::Level;
use crate::net::{self, Control};
use crate::rpc::kv::RangeResponse;
use crate::rpc::watch::{WATCH, WatchCreate, WatchRequest};
use crate::rpc::{Namespace, Response};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

const RANGE: Method = Method::new("kv/range", Kind::Read, Size::Plain).with_leader();

/// One watch's way to its server.
pub(super) struct Feed {
    channel: Arc<Channel>,
    request: WatchRequest,
    namespace: Namespace,
    require_leader: bool,
    account: Account,
    /// None: it is to be opened.
    stream: Option<MessageStream>,
    /// The token that the stream was opened with.
    grant: Grant,
    /// When the last attempt began.
    attempted: Instant,
    /// What came with the confirmation and is to be dealt with after it.
    pending: Option<Interruption>,
    /// Attempts that failed, or were soon lost, one after the other.
    losses: u32,
    /// Streams refused for their token since one that has held for a while.
    refusals: u32,
}

impl Feed {
    /// A feed that is not connected.
    pub(super) fn new(client: &Client, options: &WatchOptions) -> Result<Feed> {
        let request = options.request.clone();
        if request.start_revision < 0 {
            return Err(Error::invalid(format!("start_revision is negative: {}", request.start_revision)));
        }
        let channel = client.shared.channel.clone();
        let settings = Settings {
            namespace: client.namespace().clone(),
            shows_progress: options.progress_notify,
            reports_connection: options.report_connection,
            max_revision_bytes: channel.max_response_bytes(),
        };
        Ok(Feed {
            account: Account::new(request.start_revision, settings),
            namespace: client.namespace().clone(),
            channel,
            request,
            require_leader: options.require_leader,
            stream: None,
            grant: Grant::NONE,
            attempted: Instant::now(),
            pending: None,
            losses: 0,
            refusals: 0,
        })
    }

    pub(super) fn next_revision(&self) -> i64 {
        self.account.next_revision()
    }

    /// Fixes the first revision owed, where the caller has not given it. The server's `created` message can't tell it:
    /// etcd reads the revision that it puts there after the watch is registered, so that events owed to the watch may
    /// be below it.
    pub(super) fn pin_start(&mut self, control: &Control) -> Result<()> {
        if self.account.next_revision() != 0 {
            return Ok(());
        }
        self.attempted = Instant::now();
        let revision = self.read_revision(control)?;
        self.account.start_after(revision);
        Ok(())
    }

    /// The revision of the cluster, by a linearizable read.
    fn read_revision(&self, control: &Control) -> Result<i64> {
        let request = FirstKey(&self.request, &self.namespace);
        let response: Response<RangeResponse> = self.channel.call(RANGE, &request, control)?;
        if response.header.revision <= 0 {
            let what = "the answer to a range has no revision".to_owned();
            let endpoint = self.channel.base_url();
            return Err(Error::Protocol { endpoint, http_status: 200, what, outcome: Outcome::NotApplied });
        }
        Ok(response.header.revision)
    }

    /// Opens a stream, the start being known, and waits until the server has confirmed the watch. An error is a refusal,
    /// or says why no confirmation came; the loss or the end of a watch that was confirmed comes from [`step`](Feed::step).
    pub(super) fn confirm(&mut self, control: &Control, deliver: Deliver<'_>) -> Result<()> {
        match self.open(control, deliver) {
            Ok(()) => Ok(()),
            Err(interruption) if self.account.is_confirmed() => {
                self.pending = Some(interruption);
                Ok(())
            }
            Err(interruption) => {
                let error = interruption.into_error();
                self.leave_endpoint(&error);
                Err(error)
            }
        }
    }

    /// Goes one step on: delivers what has arrived, waiting for it, or opens another stream in place of a lost one. An
    /// error is the end of the watch.
    pub(super) fn step(&mut self, control: &Control, deliver: Deliver<'_>) -> Result<()> {
        let gone_on = match (self.pending.take(), &self.stream) {
            (Some(interruption), _) => Err(interruption),
            (None, Some(_)) => self.read(control, deliver),
            (None, None) => self.begin(&control.at_most(limits::DEFAULT_TIMEOUT), deliver),
        };
        match gone_on {
            Ok(()) => Ok(()),
            Err(Interruption::Refused(error)) if self.account.is_created() && self.renews_token(&error) => {
                self.give_up_stream(&error, deliver);
                self.pause(control)
            }
            Err(Interruption::Ended(error) | Interruption::Refused(error)) => Err(error),
            Err(Interruption::Lost(_)) if control.deadline.has_passed() => Err(waited_in_vain()),
            // The client has been sent to another cluster: no member of this one is to come.
            Err(Interruption::Lost(error)) if self.channel.is_of_the_other(&error) => Err(error),
            Err(Interruption::Lost(error)) => {
                self.lose_stream(&error, deliver);
                self.pause(control)
            }
        }
    }

    /// Within a limit, so that a member that doesn't answer is left for another.
    fn begin(&mut self, control: &Control, deliver: Deliver<'_>) -> Result<(), Interruption> {
        if self.account.next_revision() == 0 {
            return Ok(self.pin_start(control)?);
        }
        self.open(control, deliver)
    }

    /// Opens a stream and has the watch confirmed, with another token where the server refuses the first. It does so
    /// inside the stream, which is why the channel can't deal with it.
    fn open(&mut self, control: &Control, deliver: Deliver<'_>) -> Result<(), Interruption> {
        loop {
            match self.open_once(control, deliver) {
                Err(Interruption::Refused(error)) if self.stream.is_some() && self.renews_token(&error) => {
                    self.stream = None;
                }
                done => return done,
            }
        }
    }

    fn open_once(&mut self, control: &Control, deliver: Deliver<'_>) -> Result<(), Interruption> {
        let create = WatchCreate {
            request: &self.request,
            start_revision: self.account.next_revision(),
            namespace: &self.namespace,
        };
        self.account.belong_to(self.channel.cluster_id());
        self.attempted = Instant::now();
        let resumes = self.account.is_confirmed();
        let (stream, grant) = self.channel.open_stream(WATCH, &create, self.require_leader, control)?;
        (self.stream, self.grant) = (Some(stream), grant);
        while !self.account.is_created() {
            self.read(control, deliver)?;
        }
        if self.account.is_behind() {
            let found = self.read_revision(control)?;
            let endpoint = self.stream.as_ref().map_or_else(|| self.channel.base_url(), |s| s.endpoint().clone());
            self.account.judge_revision(found, &endpoint, deliver)?;
        }
        if resumes {
            self.channel.counters().resumes.add(1);
            let (next, stream) = (self.account.next_revision(), self.stream.as_ref());
            let endpoint = stream.map_or("", |stream| stream.endpoint());
            self.channel.logger().log(Level::Info, format_args!("a watch goes on from revision {next} at {endpoint}"));
        }
        Ok(())
    }

    /// Whether the watch may go on with another token. Not without end: a server may refuse whatever it issues.
    fn renews_token(&mut self, error: &Error) -> bool {
        self.refusals += 1;
        self.channel.renews_token(&self.grant, error) && self.refusals <= limits::MAX_TOKEN_REFUSALS
    }

    fn read(&mut self, control: &Control, deliver: Deliver<'_>) -> Result<(), Interruption> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let received = stream.next_batch(control);
        let endpoint = stream.endpoint();
        match received.map_err(|cause| channel::stream_error(cause, endpoint))? {
            Some(frames) => self.account.receive(frames, endpoint, deliver),
            None => Err(Interruption::Lost(Error::Lost {
                endpoint: endpoint.clone(),
                outcome: Outcome::NotApplied,
                source: Arc::new(io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended the stream")),
            })),
        }
    }

    /// Closes the stream, also where the server leaves it open, and goes to another member.
    fn lose_stream(&mut self, error: &Error, deliver: Deliver<'_>) {
        // A member that stays away is told of once.
        let level = if self.stream.is_some() { Level::Warn } else { Level::Debug };
        self.leave_endpoint(error);
        let (next, message) = (self.account.next_revision(), error.full_message());
        self.channel.logger().log(level, format_args!("a watch is to go on from revision {next}: {message}"));
        self.give_up_stream(error, deliver);
    }

    fn leave_endpoint(&self, error: &Error) {
        if let Some(stream) = &self.stream {
            self.channel.leave(stream.endpoint(), error);
        }
    }

    fn give_up_stream(&mut self, error: &Error, deliver: Deliver<'_>) {
        if self.account.is_created() && self.has_held() {
            self.refusals = 0;
        }
        self.stream = None;
        self.account.lose_stream(error, deliver);
    }

    /// Whether the stream was lost for a reason of its own, and not for the one of the stream before.
    fn has_held(&self) -> bool {
        self.attempted.elapsed() > limits::WATCH_BACKOFF_LONGEST
    }

    fn pause(&mut self, control: &Control) -> Result<()> {
        self.losses = if self.has_held() { 0 } else { self.losses + 1 };
        self.channel.pause(backoff(self.losses, net::jitter()), control)
    }
}

/// The pause after so many losses: doubled each time, up to the longest, of which chance takes up to a half away, so that
/// the watches of a lost member don't all come back at once.
fn backoff(losses: u32, jitter: f64) -> Duration {
    let doubled = limits::WATCH_BACKOFF_FIRST.saturating_mul(1 << losses.min(16));
    doubled.min(limits::WATCH_BACKOFF_LONGEST).mul_f64(1.0 - jitter / 2.0)
}

/// Asks for the store's revision at the price of one key, and with no permission that the watch doesn't need as well.
struct FirstKey<'a>(&'a WatchRequest, &'a Namespace);

impl Encode for FirstKey<'_> {
    fn encode(&self, out: &mut Writer<'_>) {
        let FirstKey(request, namespace) = self;
        out.bytes_field("key", &request.keys.first_in(namespace));
        out.int64_field("limit", 1);
        out.bool_field("count_only", true);
    }
}

fn waited_in_vain() -> Error {
    Error::Deadline { endpoint: None, phase: Phase::Receiving, outcome: Outcome::NotApplied }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest_and_never_vanish() {
        assert_eq!(backoff(0, 0.0), limits::WATCH_BACKOFF_FIRST);
        assert_eq!(backoff(1, 0.0), limits::WATCH_BACKOFF_FIRST * 2);
        for losses in 0..100 {
            let shortest = backoff(losses, 0.999);
            assert!(shortest >= limits::WATCH_BACKOFF_FIRST / 2 && shortest <= limits::WATCH_BACKOFF_LONGEST);
        }
        assert_eq!(backoff(u32::MAX, 0.0), limits::WATCH_BACKOFF_LONGEST);
    }
}
