//! Keys that failed calls have left in lines, until they are deleted: who is behind one would wait for it.

use super::claims::Claims;
use super::keepalive::{Again, Chore};
use crate::client::{CallOptions, Client, TimeLimit};
use crate::error::{Error, Result};
use crate::limits;
use crate::net::{Control, lock};
use crate::rpc::Keys;
use crate::rpc::kv::DeleteRangeRequest;
use crate::rpc::txn::{Compare, CompareOp, CompareTarget, TxnOp, TxnRequest, TxnResponse, TxnResult};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A key that a failed call may have left behind.
pub(super) struct Leftover {
    pub key: Vec<u8>,
    /// That created the key; `None`: a request that had no answer did, or may do so still.
    pub revision: Option<i64>,
    /// When there was no such key, for the first time.
    pub gone: Option<Instant>,
}

impl Leftover {
    /// After an answer, which tells whether the key was deleted. A request that creates it may come as long as requests
    /// are under way at all.
    fn is_over(&mut self, deleted: bool) -> bool {
        let gone = *self.gone.get_or_insert_with(Instant::now);
        deleted || self.revision.is_some() || gone.elapsed() >= limits::LATE_REQUEST
    }
}

/// Those of a session, deleted by its chore: many in one request, so that they don't pile up behind a slow network. And
/// what keeps its handles, of which several may have the same key, from deleting what another one has or is about to find.
#[derive(Default)]
pub(super) struct Leftovers(Mutex<List>);

#[derive(Default)]
struct List {
    /// Those that nobody has found gone so far stand first.
    all: Vec<Leftover>,
    /// What the request under way deletes.
    under_way: Vec<Leftover>,
    /// The keys that calls delete as they fail, once for each.
    parting: Vec<Vec<u8>>,
    /// The keys that calls on their way in create or find, once for each.
    joining: Vec<Vec<u8>>,
    claims: Claims,
    /// A request for several was refused.
    one_by_one: bool,
    /// The session has no chore any more.
    is_closed: bool,
}

/// Closes the list with the chore.
struct OfChore {
    leftovers: Arc<Leftovers>,
    client: Client,
}

impl Drop for OfChore {
    fn drop(&mut self) {
        let mut list = lock(&self.leftovers.0);
        list.is_closed = true;
        list.all.clear();
        list.under_way.clear();
    }
}

impl Leftovers {
    /// What deletes them.
    pub(super) fn chore(self: &Arc<Leftovers>, client: &Client) -> Chore {
        let chore = OfChore { leftovers: self.clone(), client: client.clone() };
        Box::new(move |control| chore.leftovers.tidy(&chore.client, control))
    }

    /// Whether somebody may enter with this key now, and if so, nobody deletes it before that has [joined](Leftovers::join).
    /// While it is to be deleted a request that enters would find it, and lose it.
    pub(super) fn make_way_for(&self, key: &[u8]) -> bool {
        let mut list = lock(&self.0);
        let is_there = |leftover: &Leftover| leftover.key == key && leftover.gone.is_none();
        let is_parting = list.parting.iter().any(|parting| parting == key);
        let is_under_way = list.under_way.iter().any(|leftover| leftover.key == key);
        if is_parting || is_under_way || list.all.iter().any(is_there) {
            return false;
        }
        list.all.retain(|leftover| leftover.key != key);
        list.joining.push(key.to_vec());
        true
    }

    /// Who was let in has created or found the key, of this revision, and has it like other handles; `None`: it has not.
    pub(super) fn join(&self, key: &[u8], revision: Option<i64>) {
        let mut list = lock(&self.0);
        remove_one(&mut list.joining, key);
        if let Some(revision) = revision {
            list.all.retain(|leftover| leftover.key != key);
            list.claims.add(key, revision);
        }
    }

    /// A handle has no longer what it has joined with.
    pub(super) fn disclaim(&self, key: &[u8], revision: i64) {
        lock(&self.0).claims.remove(key, revision);
    }

    /// Deletes, by a request that answers whether there was such a key, what a call that failed would leave behind. It stays
    /// where another handle of its owner has it. True: the chore is to be called, since this was not or may not have been
    /// enough.
    pub(super) fn part_with(&self, key: &[u8], revision: Option<i64>, delete: impl FnOnce() -> Result<bool>) -> bool {
        let mut list = lock(&self.0);
        if list.claims.has(key, revision) {
            return false;
        }
        let leftover = |gone| Leftover { key: key.to_vec(), revision, gone };
        if list.joining.iter().any(|joining| joining == key) {
            return list.put_unless_closed(leftover(None));
        }
        list.parting.push(key.to_vec());
        drop(list);
        let deleted = delete();
        let mut list = lock(&self.0);
        remove_one(&mut list.parting, key);
        let is_over = matches!(deleted, Ok(true)) || revision.is_some() && deleted.is_ok();
        !is_over && list.put_unless_closed(leftover(deleted.is_ok().then(Instant::now)))
    }

    fn tidy(&self, client: &Client, control: &Control) -> Again {
        let mut list = lock(&self.0);
        let requests = list.next_requests();
        let is_empty = list.all.is_empty();
        drop(list);
        let request = match <[TxnRequest<'static>; 1]>::try_from(requests) {
            Ok([only]) => only,
            Err(none) if none.is_empty() => return if is_empty { Again::WhenCalled } else { Again::Later },
            Err(several) => {
                TxnRequest { success: several.into_iter().map(TxnOp::Txn).collect(), ..TxnRequest::default() }
            }
        };
        let left = control.deadline.remaining().map_or(TimeLimit::Default, TimeLimit::After);
        let call = CallOptions { timeout: left, cancel: control.cancel.clone() };
        let answer = client.txn_repeatable(&request, &call);
        lock(&self.0).take_in(answer.as_deref())
    }
}

impl List {
    fn put_unless_closed(&mut self, leftover: Leftover) -> bool {
        if !self.is_closed {
            self.put(leftover);
        }
        !self.is_closed
    }

    fn put(&mut self, leftover: Leftover) {
        let place = match leftover.gone {
            None => self.all.partition_point(|other| other.gone.is_none()),
            Some(_) => self.all.len(),
        };
        self.all.insert(place, leftover);
    }

    /// To delete each of those that are under way then: none that somebody is about to find.
    fn next_requests(&mut self) -> Vec<TxnRequest<'static>> {
        let most = if self.one_by_one { 1 } else { limits::LEFTOVERS_DELETED };
        for leftover in std::mem::take(&mut self.all) {
            let may_go = self.under_way.len() < most && !self.joining.contains(&leftover.key);
            if may_go { self.under_way.push(leftover) } else { self.all.push(leftover) }
        }
        self.under_way.iter().map(|leftover| deletion(leftover.key.clone(), leftover.revision)).collect()
    }

    fn take_in(&mut self, answer: Result<&TxnResponse, &Error>) -> Again {
        let mut asked = std::mem::take(&mut self.under_way);
        let is_one = asked.len() == 1;
        let again = match answer {
            Ok(response) => {
                let each = |place| match response.results.get(place) {
                    Some(TxnResult::Txn(response)) => has_deleted(response),
                    _ => is_one && has_deleted(response),
                };
                let mut places = 0..;
                asked.retain_mut(|leftover| !leftover.is_over(places.next().is_some_and(each)));
                self.one_by_one &= !self.all.is_empty();
                Again::Next
            }
            Err(Error::Cancelled { .. }) => Again::Next,
            Err(error) => {
                // What is refused of one must not keep the others.
                self.one_by_one |= matches!(error, Error::Server { .. }) && !error.is_retryable();
                if self.one_by_one && !is_one { Again::Next } else { Again::Later }
            }
        };
        // At the end: others have their turn before one that is refused.
        asked.into_iter().for_each(|leftover| self.put(leftover));
        match self.all.first() {
            None => Again::WhenCalled,
            Some(first) if first.gone.is_none() => again,
            Some(_) => Again::Later,
        }
    }
}

fn remove_one(keys: &mut Vec<Vec<u8>>, key: &[u8]) {
    if let Some(place) = keys.iter().position(|other| other == key) {
        keys.swap_remove(place);
    }
}

/// Deletes a key, if it was created at this revision where one is given.
pub(super) fn deletion(key: Vec<u8>, revision: Option<i64>) -> TxnRequest<'static> {
    let is_same = |revision| Compare {
        keys: Keys::One(key.clone().into()),
        op: CompareOp::Equal,
        target: CompareTarget::CreateRevision(revision),
    };
    let compare = revision.map(is_same).into_iter().collect();
    let delete = DeleteRangeRequest::new(Keys::One(key.into()));
    TxnRequest { compare, success: vec![TxnOp::DeleteRange(delete)], failure: Vec::new() }
}

/// Whether that has deleted it.
pub(super) fn has_deleted(response: &TxnResponse) -> bool {
    matches!(response.results.first(), Some(TxnResult::DeleteRange(delete)) if delete.deleted > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Code, Outcome, Reason};

    fn leftover(key: &[u8], revision: Option<i64>) -> Leftover {
        Leftover { key: key.to_vec(), revision, gone: None }
    }

    fn refused() -> Error {
        let (endpoint, message) = ("http://here".into(), "no".to_owned());
        let (code, reason, outcome) = (Code::PermissionDenied, Reason::Other, Outcome::NotApplied);
        Error::Server { endpoint, http_status: 403, code, message, reason, outcome }
    }

    #[test]
    fn a_key_keeps_out_who_would_enter_with_it_until_it_was_found_gone_and_then_makes_way() {
        let leftovers = Leftovers::default();
        lock(&leftovers.0).put(leftover(b"late", None));
        assert!(leftovers.make_way_for(b"other") && !leftovers.make_way_for(b"late"));
        assert_eq!(lock(&leftovers.0).next_requests().len(), 1);
        assert!(!leftovers.make_way_for(b"late"), "a request is under way");
        assert_eq!(lock(&leftovers.0).take_in(Ok(&TxnResponse::default())), Again::Later);
        assert_eq!(lock(&leftovers.0).next_requests().len(), 1, "it may come late");
        assert!(!leftovers.make_way_for(b"late"), "a request is under way");
        lock(&leftovers.0).take_in(Ok(&TxnResponse::default()));
        assert!(leftovers.make_way_for(b"late"));
        assert!(lock(&leftovers.0).next_requests().is_empty(), "it is another one's now");
    }

    #[test]
    fn what_a_handle_is_about_to_find_or_has_is_deleted_by_no_other() {
        let leftovers = Leftovers::default();
        let never = || -> Result<bool> { Err(Error::FailedPrecondition { what: "it is another one's" }) };
        assert!(leftovers.make_way_for(b"k"));
        assert!(leftovers.part_with(b"k", Some(5), never));
        assert!(lock(&leftovers.0).next_requests().is_empty(), "somebody may find it");
        assert!(!leftovers.make_way_for(b"k"));
        leftovers.join(b"k", Some(5));
        assert!(lock(&leftovers.0).all.is_empty() && !leftovers.part_with(b"k", Some(5), never));
        leftovers.disclaim(b"k", 5);
        let deleted = leftovers.part_with(b"k", Some(5), || {
            assert!(!leftovers.make_way_for(b"k"), "it is being deleted");
            Ok(true)
        });
        assert!(!deleted && leftovers.make_way_for(b"k"));
        assert!(leftovers.part_with(b"k", None, never));
        leftovers.join(b"k", None);
        assert_eq!(lock(&leftovers.0).next_requests().len(), 1, "nobody has found it");
    }

    #[test]
    fn many_are_deleted_at_once_and_one_by_one_after_a_refusal() {
        let mut list = List::default();
        (0..100).for_each(|number: i64| list.put(leftover(&number.to_be_bytes(), Some(number))));
        assert_eq!(list.next_requests().len(), limits::LEFTOVERS_DELETED);
        assert_eq!(list.take_in(Ok(&TxnResponse::default())), Again::Next);
        assert_eq!(list.next_requests().len(), 100 - limits::LEFTOVERS_DELETED);
        assert_eq!(list.take_in(Err(&refused())), Again::Next);
        assert_eq!(list.next_requests().len(), 1);
        assert_eq!(list.take_in(Err(&refused())), Again::Later, "it is this one");
        for left in (1..100 - limits::LEFTOVERS_DELETED).rev() {
            assert_eq!(list.next_requests().len(), 1);
            assert_eq!((list.take_in(Ok(&TxnResponse::default())), list.all.len()), (Again::Next, left));
        }
        let of_refused = list.next_requests();
        assert_eq!((of_refused.len(), list.take_in(Ok(&TxnResponse::default()))), (1, Again::WhenCalled));
        assert!(!list.one_by_one);
    }
}
