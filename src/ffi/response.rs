//! Answers as C reads them: a public struct, and behind it in the same allocation what it points to.

use super::bytes::{c_string, etcdgw_bytes};
use crate::gateway::json::Span;
use crate::rpc::Header;
use crate::rpc::kv::KeyValue;
use std::any::Any;
use std::ffi::c_char;
use std::ptr;

/// The header of every answer. Zero is what the server did not say.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct etcdgw_header {
    /// The cluster's ID.
    pub cluster_id: u64,
    /// The ID of the member that answered.
    pub member_id: u64,
    /// The store's revision when it did.
    pub revision: i64,
    /// The Raft term then.
    pub raft_term: u64,
}

/// A key with its value and history.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct etcdgw_kv {
    /// The key.
    pub key: etcdgw_bytes,
    /// Its value; empty where only keys were asked for.
    pub value: etcdgw_bytes,
    /// The revision that created it.
    pub create_revision: i64,
    /// The revision that changed it last.
    pub mod_revision: i64,
    /// How many times it was written since it was created.
    pub version: i64,
    /// The lease it is attached to; 0: none.
    pub lease: i64,
}

const _: () = assert!(size_of::<etcdgw_header>() == 32 && size_of::<etcdgw_kv>() == 64);

impl From<Header> for etcdgw_header {
    fn from(header: Header) -> etcdgw_header {
        let Header { cluster_id, member_id, revision, raft_term } = header;
        etcdgw_header { cluster_id, member_id, revision, raft_term }
    }
}

impl etcdgw_kv {
    /// A key for C to read, whose spans `bytes` resolves.
    pub(super) fn lend<'a>(kv: &KeyValue, bytes: impl Fn(Span) -> &'a [u8]) -> etcdgw_kv {
        etcdgw_kv {
            key: etcdgw_bytes::lend(bytes(kv.key)),
            value: etcdgw_bytes::lend(bytes(kv.value)),
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            lease: kv.lease,
        }
    }
}

/// A response of C together with what it points to. C gets the address of `public`, which is that of the whole.
#[repr(C)]
struct Response<P> {
    public: P,
    kept: Kept,
}

/// Makes a response, which the caller of the library owns.
pub(super) fn new<P>(public: P, kept: Kept) -> *mut P {
    Box::into_raw(Box::new(Response { public, kept })).cast()
}

/// Frees a response; NULL is nothing to free.
///
/// # Safety
/// `response` is NULL or from [`new`], and is not used again.
pub(super) unsafe fn free<P>(response: *mut P) {
    if !response.is_null() {
        // SAFETY: `new` made it, of this type.
        drop(unsafe { Box::from_raw(response.cast::<Response<P>>()) });
    }
}

/// What a response points to, freed with it. Addresses stay the same when this is moved.
#[derive(Default)]
pub(super) struct Kept {
    arena: Vec<u8>,
    kvs: Vec<etcdgw_kv>,
    pieces: Vec<Piece>,
}

/// A value of any type on the heap. A raw pointer and no `Box`: what points into a `Box` is invalid once that is moved.
struct Piece(*mut dyn Any);

impl Drop for Piece {
    fn drop(&mut self) {
        // SAFETY: `Kept::keep` made it, and a value is dropped once.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

impl Kept {
    /// Keeps the buffer of a decoded answer.
    pub(super) fn new(arena: Vec<u8>) -> Kept {
        Kept { arena, ..Kept::default() }
    }

    /// The bytes of a key or value of the answer.
    pub(super) fn bytes(&self, span: Span) -> etcdgw_bytes {
        etcdgw_bytes::lend(span.of(&self.arena))
    }

    /// The keys of an answer that has one list of them, as an array: no second allocation beside it.
    pub(super) fn only_kvs(&mut self, kvs: Vec<KeyValue>) -> (*const etcdgw_kv, usize) {
        self.kvs = self.lend(kvs);
        array(&self.kvs)
    }

    /// Keys that are ready, as an array; likewise the only ones.
    pub(super) fn ready_kvs(&mut self, kvs: Vec<etcdgw_kv>) -> (*const etcdgw_kv, usize) {
        self.kvs = kvs;
        array(&self.kvs)
    }

    /// Keys, as an array.
    pub(super) fn kvs(&mut self, kvs: Vec<KeyValue>) -> (*const etcdgw_kv, usize) {
        let kvs = self.lend(kvs);
        self.array(kvs)
    }

    fn lend(&self, kvs: Vec<KeyValue>) -> Vec<etcdgw_kv> {
        kvs.into_iter().map(|kv| etcdgw_kv::lend(&kv, |span| span.of(&self.arena))).collect()
    }

    /// The key there was before, or NULL.
    pub(super) fn prev_kv(&mut self, kv: Option<KeyValue>) -> *const etcdgw_kv {
        kv.map_or(ptr::null(), |kv| {
            let kv = etcdgw_kv::lend(&kv, |span| span.of(&self.arena));
            self.keep(kv)
        })
    }

    /// Keeps a value, and gives its address.
    pub(super) fn keep<T: 'static>(&mut self, value: T) -> *const T {
        let value = Box::into_raw(Box::new(value));
        self.pieces.push(Piece(value));
        value
    }

    /// Keeps an array, and gives the address of its first element, NULL of none, and its length.
    pub(super) fn array<T: 'static>(&mut self, values: Vec<T>) -> (*const T, usize) {
        let array = array(&values);
        if !values.is_empty() {
            self.keep(values);
        }
        array
    }

    /// Keeps a text.
    pub(super) fn text(&mut self, text: String) -> *const c_char {
        self.array(c_string(text).into_bytes_with_nul()).0.cast()
    }

    /// Keeps texts, and gives an array of them.
    pub(super) fn texts(&mut self, texts: Vec<String>) -> (*const *const c_char, usize) {
        let texts = texts.into_iter().map(|text| self.text(text)).collect();
        self.array(texts)
    }
}

/// An array for C: no address that Rust made up for an empty one.
pub(super) fn array<T>(values: &[T]) -> (*const T, usize) {
    if values.is_empty() { (ptr::null(), 0) } else { (values.as_ptr(), values.len()) }
}
