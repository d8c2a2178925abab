//! Certificates and keys from PEM.

use crate::config::Pem;
use crate::error::{Error, Result};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The certificates, at least one; `what` they are, and how PEM in memory is named, is for the error.
pub(super) fn certificates(pem: &Pem, what: &str, name: &str) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = read(pem)?;
    let certificates = CertificateDer::pem_slice_iter(&bytes).collect::<std::result::Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) if bytes.is_empty() => Err(problem(pem, name, format!("it is empty, where {what} is wanted"))),
        Ok(_) => Err(problem(pem, name, format!("no certificate in it, where {what} is wanted"))),
        Err(error) => Err(problem(pem, name, format!("{what} can't be read: {}", said(&error)))),
    }
}

/// A private key in PKCS#1, PKCS#8 or SEC1; wiped from memory when dropped.
pub(super) fn private_key(pem: &Pem, name: &str) -> Result<Zeroizing<PrivateKeyDer<'static>>> {
    let bytes = read(pem)?;
    if bytes.is_empty() {
        return Err(problem(pem, name, "it is empty, where a private key is wanted".to_owned()));
    }
    // "BEGIN ENCRYPTED PRIVATE KEY", or "Proc-Type: 4,ENCRYPTED" in one that OpenSSL wrote in its old way.
    if memchr::memmem::find(&bytes, b"ENCRYPTED").is_some() {
        let what = "the private key is encrypted: decrypt it, for example with `openssl pkey -in … -out …`";
        return Err(problem(pem, name, what.to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(&bytes);
    key.map(Zeroizing::new).map_err(|error| problem(pem, name, format!("no private key can be read: {}", said(&error))))
}

/// Not in the error's own words, which quote lines: where line breaks were lost, one line is the whole key.
fn said(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "an END line is missing, or doesn't stand on a line of its own",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line does not end as it must, or with its line",
        pem::Error::Base64Decode(_) => "what stands between BEGIN and END is not base64",
        pem::Error::NoItemsFound => "there is none",
        _ => "it is not PEM",
    }
}

fn read(pem: &Pem) -> Result<Zeroizing<Vec<u8>>> {
    let read = match pem {
        Pem::Memory(bytes) => Ok(bytes.clone()),
        Pem::File(path) => std::fs::read(path).map_err(|error| file_error(path, error)),
    };
    read.map(Zeroizing::new)
}

fn problem(pem: &Pem, name: &str, what: String) -> Error {
    match pem {
        Pem::File(path) => file_error(path, io::Error::new(io::ErrorKind::InvalidData, what)),
        Pem::Memory(_) => Error::invalid(format!("{name}: {what}")),
    }
}

fn file_error(path: &Path, source: io::Error) -> Error {
    Error::File { path: path.to_owned(), source: Arc::new(source) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        private_key(&Pem::Memory(text.as_bytes().to_vec()), "key_pem").map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_key_that_can_not_be_read_is_not_quoted() {
        let secret = "bm9ib2R5IG1heSByZWFkIHRoaXM";
        for (broken, reason) in [
            (format!("-----BEGIN PRIVATE KEY-----{secret}-----END PRIVATE KEY-----\n"), "an END line is missing"),
            (format!("-----BEGIN PRIVATE KEY-----\n{secret}\n"), "an END line is missing"),
            (format!("-----BEGIN PRIVATE KEY-----{secret}\n-----END PRIVATE KEY-----\n"), "a BEGIN line does not end"),
            (format!("-----BEGIN PRIVATE KEY-----\n!{secret}\n-----END PRIVATE KEY-----\n"), "is not base64"),
            (secret.to_owned(), "there is none"),
        ] {
            let message = refusal(&broken);
            assert!(message.starts_with("key_pem: no private key can be read: "), "{message}");
            assert!(message.contains(reason), "{message}");
            // Neither as it is nor as numbers.
            let numbers = format!("{:?}", secret.as_bytes().get(..4).unwrap());
            assert!(!message.contains(secret) && !message.contains(numbers.trim_matches(['[', ']'])), "{message}");
        }
    }
}
