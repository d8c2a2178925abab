//! Which keys a request speaks of, and how etcd writes that as `key` and `range_end`.

use super::Namespace;
use crate::gateway::json::Writer;
use std::borrow::Cow;

/// One key, or a contiguous range of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys<'a> {
    /// This key.
    One(Cow<'a, [u8]>),
    /// Every key that starts so; an empty prefix means every key.
    Prefix(Cow<'a, [u8]>),
    /// This key and every one after it; from the empty key on means every key.
    From(Cow<'a, [u8]>),
    /// From `key` on, up to `end` and without it.
    Range {
        /// The first key.
        key: Cow<'a, [u8]>,
        /// The first key after the last one.
        end: Cow<'a, [u8]>,
    },
}

/// etcd's `range_end` for "from this key on", and the smallest key there is.
pub(crate) const ZERO: &[u8] = b"\0";

impl<'a> Keys<'a> {
    /// This key and no other.
    pub fn one(key: &'a [u8]) -> Keys<'a> {
        Keys::One(Cow::Borrowed(key))
    }

    /// etcd's own form: no `range_end` for one key, `"\0"` for "from this key on".
    pub fn from_wire(key: Cow<'a, [u8]>, range_end: Cow<'a, [u8]>) -> Keys<'a> {
        match &*range_end {
            [] => Keys::One(key),
            [0] => Keys::From(key),
            _ => Keys::Range { key, end: range_end },
        }
    }

    /// Whether no key at all is left out.
    pub fn is_everything(&self) -> bool {
        match self {
            Keys::One(_) => false,
            Keys::Prefix(key) => key.is_empty(),
            Keys::From(key) => key.is_empty() || **key == *ZERO,
            Keys::Range { key, end } => **end == *ZERO && (key.is_empty() || **key == *ZERO),
        }
    }

    /// Whether this is one key without a name: etcd refuses it with "key is not provided".
    pub(crate) fn is_empty_key(&self) -> bool {
        match self {
            Keys::One(key) => key.is_empty(),
            Keys::Range { key, end } => key.is_empty() && **end != *ZERO,
            Keys::Prefix(_) | Keys::From(_) => false,
        }
    }

    /// The first of these keys, as it is when no namespace is added.
    pub(crate) fn first(&self) -> &[u8] {
        match self {
            Keys::One(key) | Keys::Range { key, .. } => key,
            Keys::Prefix(key) | Keys::From(key) if key.is_empty() => ZERO,
            Keys::Prefix(key) | Keys::From(key) => key,
        }
    }

    /// The full name of the first of these keys. Where it has none it is the smallest there is, as etcd takes it in a
    /// watch.
    pub(crate) fn first_in(&self, namespace: &Namespace) -> Cow<'_, [u8]> {
        let key = match self {
            Keys::One(key) | Keys::Range { key, .. } | Keys::Prefix(key) | Keys::From(key) => key,
        };
        if key.is_empty() && namespace.is_empty() { Cow::Borrowed(ZERO) } else { namespace.add(key) }
    }

    /// The same keys, owned.
    pub fn into_owned(self) -> Keys<'static> {
        let own = |bytes: Cow<'a, [u8]>| Cow::Owned(bytes.into_owned());
        match self {
            Keys::One(key) => Keys::One(own(key)),
            Keys::Prefix(key) => Keys::Prefix(own(key)),
            Keys::From(key) => Keys::From(own(key)),
            Keys::Range { key, end } => Keys::Range { key: own(key), end: own(end) },
        }
    }

    /// Writes `key` and, where it takes one, `range_end`.
    pub(crate) fn write(&self, namespace: &Namespace, out: &mut Writer<'_>) {
        let prefix = namespace.prefix();
        match self {
            Keys::One(key) => out.joined_bytes_field("key", prefix, key),
            // No end, and no end at all, are not names of keys: a namespace has its own way to say them.
            Keys::Range { key, end } if end.is_empty() => Keys::One(Cow::Borrowed(key)).write(namespace, out),
            Keys::Range { key, end } if **end == *ZERO => Keys::From(Cow::Borrowed(key)).write(namespace, out),
            Keys::Range { key, end } => {
                out.joined_bytes_field("key", prefix, key);
                out.joined_bytes_field("range_end", prefix, end);
            }
            Keys::From(key) => {
                let first = if prefix.is_empty() { self.first() } else { key };
                out.joined_bytes_field("key", prefix, first);
                out.bytes_field("range_end", &namespace.end());
            }
            Keys::Prefix(key) => {
                let first = if prefix.is_empty() { self.first() } else { key };
                out.joined_bytes_field("key", prefix, first);
                out.bytes_field("range_end", &prefix_range_end(&namespace.add(key)));
            }
        }
    }
}

/// The `range_end` that makes a range of a prefix: the prefix with its last byte below 0xff raised by one and what
/// follows that byte cut off. Where there is no such byte every key from the prefix on has the prefix or comes after
/// it, and the answer is `"\0"` (`getPrefix` in etcd's client/v3/op.go).
pub fn prefix_range_end(prefix: &[u8]) -> Vec<u8> {
    let kept = prefix.iter().rposition(|byte| *byte < 0xff);
    match kept.and_then(|last| prefix.get(..=last)) {
        Some([head @ .., last]) => {
            let mut end = head.to_vec();
            end.push(last.saturating_add(1));
            end
        }
        _ => ZERO.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_range_ends_at_the_next_prefix_of_the_same_length_or_shorter() {
        for (prefix, end) in [
            (&b"a"[..], &b"b"[..]),
            (b"/doot/", b"/doot0"),
            (b"a\xff", b"b"),
            (b"a\x7f", b"a\x80"),
            (b"\x80a", b"\x80b"),
            (b"\xff\xff", b"\0"),
            (b"", b"\0"),
            (b"\0", b"\x01"),
        ] {
            assert_eq!(prefix_range_end(prefix), end, "{prefix:?}");
        }
    }

    #[test]
    fn only_an_unbounded_range_from_the_first_key_is_everything() {
        assert!(Keys::Prefix(Cow::Borrowed(b"")).is_everything());
        assert!(Keys::From(Cow::Borrowed(b"")).is_everything());
        assert!(Keys::From(Cow::Borrowed(b"\0")).is_everything());
        assert!(Keys::Range { key: Cow::Borrowed(b"\0"), end: Cow::Borrowed(b"\0") }.is_everything());
        assert!(!Keys::Range { key: Cow::Borrowed(b"\0"), end: Cow::Borrowed(b"\x01") }.is_everything());
        assert!(!Keys::Prefix(Cow::Borrowed(b"\0")).is_everything());
        assert!(!Keys::One(Cow::Borrowed(b"")).is_everything());
        assert!(!Keys::From(Cow::Borrowed(b"a")).is_everything());
    }
}
