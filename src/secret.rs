//! Passwords and tokens: wiped from memory when freed, and shown by nothing.
//!
//! The buffers of the library that a secret was written to or read into are wiped as well, as soon as it has been sent
//! or taken out. What TLS and the kernel copy on its way is out of reach.

use std::fmt;
use zeroize::Zeroizing;

/// A text that nobody else is to read.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// For what must go out in clear.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Blanks it out wherever it stands in a text.
    pub(crate) fn blank_in(&self, text: &mut [u8]) {
        let places: Vec<usize> = memchr::memmem::find_iter(text, &*self.0).collect();
        for place in places {
            if let Some(found) = text.get_mut(place..place + self.0.len()) {
                found.fill(b'*');
            }
        }
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(Zeroizing::new(text))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
