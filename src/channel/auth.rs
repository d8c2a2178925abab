//! The token that a client's requests carry.
//!
//! It is fetched on first use, and again when a server refuses it. At each endpoint one thread fetches, within the
//! bounds of its own call, and the others that are there wait within theirs; when that thread gives up for a reason of
//! its own, one of them takes its place. Threads at different endpoints don't wait for each other, so that a member that
//! hangs holds up nobody who has left it. The lock is never held while anything is waited for.
//!
//! A token belongs to the endpoints that the caller has named, as their [guard](Guard) does. A call that is under way when
//! they are replaced fetches one for itself where it needs it, which no other call gets.

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

use super::endpoints::Endpoints;
use super::guard::Guard;
use crate::config::Credentials;
use crate::error::{Code, Error, Reason, Result};
use crate::gateway::status;
use crate::limits;
use crate::net::{self, EventFd, lock};
use crate::secret::Secret;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What a request carries: a token, or none where none is needed.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    token: Option<Arc<Secret>>,
    /// Which one it is, so that it isn't replaced twice.
    generation: u64,
}

impl Grant {
    /// No token, and none will be fetched.
    pub(crate) const NONE: Grant = Grant { token: None, generation: 0 };

    /// The generation of one that a single call has fetched, for endpoints that were replaced: never the current one, so
    /// that another is had where it is refused.
    const APART: u64 = u64::MAX;

    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref().map(Secret::expose)
    }

    /// Whether a server that says this wants another token, or one at all. A request without one, from a client with a
    /// certificate, it takes for one of the user whom the certificate names, be that nobody.
    pub(crate) fn is_refused_by(&self, error: &Error) -> bool {
        let is_denied = matches!(error, Error::Server { code: Code::PermissionDenied, .. });
        self.token.is_none() && is_denied || status::refuses_token(error)
    }

    /// Blanks out the token in what a server sent, before it is quoted: it may have sent back what it got.
    pub(super) fn blank_in(&self, text: &mut [u8]) {
        if let Some(token) = &self.token {
            token.blank_in(text);
        }
    }
}

/// Who a client is, and the token that proves it.
pub(super) struct Auth {
    state: Mutex<State>,
}

struct State {
    credentials: Arc<Credentials>,
    /// Of the endpoints that the grant is for.
    guard: Arc<Guard>,
    /// None: it is to be fetched.
    grant: Option<Grant>,
    /// When it was fetched.
    fetched_at: Option<Instant>,
    /// Goes up when a grant is withdrawn or the credentials are replaced: what is fetched for an older one is too late.
    generation: u64,
    /// At most one for each endpoint.
    fetches: Vec<Arc<Fetch>>,
}

/// Whether there is something better than what a server refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    None,
    /// It has been asked for since, or is there.
    UnderWay,
    /// It will be asked for from now on.
    Begun,
}

/// A thread's fetching of a token at one endpoint.
struct Fetch {
    endpoint: Arc<str>,
    done: EventFd,
    /// Why there is no token, where that holds for those who have waited, too.
    error: Mutex<Option<Error>>,
}

impl State {
    fn new(credentials: Credentials, guard: Arc<Guard>, generation: u64) -> State {
        let token = match &credentials {
            Credentials::Nobody => Some(None),
            Credentials::Token(token) => Some(Some(Arc::new(token.clone()))),
            Credentials::User { .. } => None,
        };
        let grant = token.map(|token| Grant { token, generation });
        State { credentials: Arc::new(credentials), guard, grant, fetched_at: None, generation, fetches: Vec::new() }
    }

    fn logs_in(&self) -> bool {
        matches!(&*self.credentials, Credentials::User { .. })
    }

    /// Makes the grant worthless, and those that are being fetched.
    fn supersede(&mut self) {
        self.generation += 1;
        (self.grant, self.fetched_at) = (None, None);
        self.let_go();
    }

    /// Lets nobody wait any more for the fetches under way.
    fn let_go(&mut self) {
        self.fetches.drain(..).for_each(|fetch| fetch.done.signal());
    }
}

/// What a thread that needs a token is to do.
enum Turn<'a> {
    Use(Grant),
    Wait(Arc<Fetch>),
    Fetch(Fetching<'a>),
    /// Fetch one for this call only.
    FetchApart(Arc<Credentials>),
}

/// The thread whose turn it is to fetch; the next one's comes when this is dropped.
struct Fetching<'a> {
    auth: &'a Auth,
    fetch: Arc<Fetch>,
    credentials: Arc<Credentials>,
    generation: u64,
}

impl Auth {
    pub(super) fn new(credentials: Credentials, guard: Arc<Guard>) -> Result<Auth> {
        credentials.check()?;
        Ok(Auth { state: Mutex::new(State::new(credentials, guard, 1)) })
    }

    /// Uses these from the next request on.
    pub(super) fn set(&self, credentials: Credentials) -> Result<()> {
        credentials.check()?;
        let mut state = lock(&self.state);
        state.supersede();
        *state = State::new(credentials, state.guard.clone(), state.generation);
        Ok(())
    }

    /// Forgets the token of a user: the client's endpoints have changed, and it is none of the new ones' business.
    pub(super) fn forget(&self, endpoints: &Endpoints) {
        let mut state = lock(&self.state);
        // Looked up with the lock held: of several changes at a time the last one counts here as it does there.
        state.guard = endpoints.guard();
        if state.logs_in() {
            state.supersede();
        }
    }

    /// The token for a request to this endpoint, one of those of the guard. `fetch` asks the endpoint for one with a name
    /// and a password, and answers none where authentication is not enabled; `wait` waits until the event is signalled.
    pub(super) fn grant(
        &self,
        endpoint: &Arc<str>,
        guard: &Arc<Guard>,
        wait: impl Fn(&EventFd) -> Result<()>,
        fetch: impl Fn(&str, &Secret) -> Result<Option<Secret>>,
    ) -> Result<Grant> {
        loop {
            match self.turn(endpoint, guard)? {
                Turn::Use(grant) => return Ok(grant),
                Turn::Wait(other) => {
                    wait(&other.done)?;
                    if let Some(error) = &*lock(&other.error) {
                        return Err(error.clone());
                    }
                }
                Turn::FetchApart(credentials) => {
                    let Credentials::User { name, password } = &*credentials else { return Ok(Grant::NONE) };
                    let token = fetch(name, password)?.map(Arc::new);
                    return Ok(Grant { token, generation: Grant::APART });
                }
                Turn::Fetch(fetching) => {
                    let Credentials::User { name, password } = &*fetching.credentials else { continue };
                    if let Some(done) = fetching.finish(fetch(name, password)) {
                        return done;
                    }
                }
            }
        }
    }

    fn turn(&self, endpoint: &Arc<str>, guard: &Arc<Guard>) -> Result<Turn<'_>> {
        let mut state = lock(&self.state);
        if state.logs_in() && !Arc::ptr_eq(&state.guard, guard) {
            return Ok(Turn::FetchApart(state.credentials.clone()));
        }
        if let Some(grant) = &state.grant {
            return Ok(Turn::Use(grant.clone()));
        }
        if let Some(fetch) = state.fetches.iter().find(|fetch| fetch.endpoint == *endpoint) {
            return Ok(Turn::Wait(fetch.clone()));
        }
        let done = EventFd::new().map_err(net::no_descriptor)?;
        let fetch = Arc::new(Fetch { endpoint: endpoint.clone(), done, error: Mutex::default() });
        state.fetches.push(fetch.clone());
        let (credentials, generation) = (state.credentials.clone(), state.generation);
        Ok(Turn::Fetch(Fetching { auth: self, fetch, credentials, generation }))
    }

    /// Whether one is to be fetched.
    pub(super) fn lacks_token(&self) -> bool {
        lock(&self.state).grant.is_none()
    }

    /// Whether a request that is made now would carry this, for all that is known.
    pub(super) fn is_current(&self, grant: &Grant) -> bool {
        lock(&self.state).generation == grant.generation
    }

    /// Takes note that a server refused what a request carried.
    pub(super) fn withdraw(&self, refused: &Grant) -> Renewal {
        let mut state = lock(&self.state);
        if state.generation != refused.generation {
            // Another thread was faster, or there are other credentials since.
            return if refused.generation == Grant::NONE.generation { Renewal::None } else { Renewal::UnderWay };
        }
        if !state.logs_in() {
            return Renewal::None;
        }
        state.supersede();
        Renewal::Begun
    }

    /// Takes note that a server left a request with this token without an answer. Whether another token is to be had.
    ///
    /// A simple token names the entry of the log that it is of, and a server waits until it has applied that one
    /// (etcd's server/auth/simple_token.go, `isValidSimpleToken`): one that was restored from a backup may for ever. Others
    /// are just slow, so that a token is doubted at intervals only.
    pub(super) fn doubt(&self, unanswered: &Grant, now: Instant) -> bool {
        let mut state = lock(&self.state);
        let age = state.fetched_at.map(|fetched_at| now.saturating_duration_since(fetched_at));
        let is_old = age.is_some_and(|age| age >= limits::TOKEN_DOUBT_AGE);
        let is_doubted = is_old && unanswered.token.is_some() && state.generation == unanswered.generation;
        if is_doubted {
            state.supersede();
        }
        is_doubted
    }

    /// Whether a token that is refused can be replaced.
    pub(super) fn logs_in(&self) -> bool {
        lock(&self.state).logs_in()
    }
}

impl Fetching<'_> {
    /// Tells everybody what came of it. `None`: it is too late, for other credentials or another token are asked for.
    fn finish(&self, fetched: Result<Option<Secret>>) -> Option<Result<Grant>> {
        let mut state = lock(&self.auth.state);
        if state.generation != self.generation {
            return None;
        }
        match fetched {
            Ok(token) => {
                // A thread at another endpoint may have been faster.
                let grant = Grant { token: token.map(Arc::new), generation: self.generation };
                let grant = state.grant.get_or_insert(grant).clone();
                state.fetched_at.get_or_insert_with(Instant::now);
                state.let_go();
                Some(Ok(grant))
            }
            Err(error) => {
                if concerns_others(&error) {
                    *lock(&self.fetch.error) = Some(error.clone());
                }
                Some(Err(error))
            }
        }
    }
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        lock(&self.auth.state).fetches.retain(|fetch| !Arc::ptr_eq(fetch, &self.fetch));
        self.fetch.done.signal();
    }
}

/// Whether those who have waited for this thread would fare no better: each would ask once more for what is refused,
/// or wait once more for what can't be reached, one after another.
fn concerns_others(error: &Error) -> bool {
    matches!(error, Error::Connect { .. } | Error::Tls { .. }) || error.reason() == Reason::AuthFailed
}
