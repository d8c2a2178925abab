//! Whom a client trusts, and who it is: rustls' configuration from PEM.

use super::lock;
use crate::config::{Pem, TlsConfig};
use crate::error::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error as TlsError, InconsistentKeys, RootCertStore,
    SignatureScheme,
};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// TLS for the connections of one client.
pub(crate) struct Tls {
    config: TlsConfig,
    /// Made when it is first needed: reading the system's certificates takes milliseconds.
    built: Mutex<Option<Arc<ClientConfig>>>,
}

impl Tls {
    pub(crate) fn new(config: TlsConfig) -> Tls {
        Tls { config, built: Mutex::new(None) }
    }

    /// Reads and checks the certificates, so that what is wrong with them is known before the first call.
    pub(crate) fn prepare(&self) -> Result<Arc<ClientConfig>> {
        let mut built = lock(&self.built);
        if let Some(config) = &*built {
            return Ok(config.clone());
        }
        let config = Arc::new(build(&self.config)?);
        *built = Some(config.clone());
        Ok(config)
    }

    /// A TLS session with a host, not begun.
    pub(crate) fn session(&self, host: &str) -> io::Result<ClientConnection> {
        let config = self.prepare().map_err(io::Error::other)?;
        let name = self.config.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        ClientConnection::new(config, name).map_err(io::Error::other)
    }
}

fn build(config: &TlsConfig) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::invalid(format!("TLS can't be set up: {error}")))?;
    let verified = if config.insecure_skip_verify {
        versions.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
    } else {
        versions.with_root_certificates(roots(config.ca_cert.as_ref())?)
    };
    match (&config.cert, &config.key) {
        (None, None) => Ok(verified.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let chain = certificates(cert, "the client certificate")?;
            let pair = verified.with_client_auth_cert(chain, private_key(key)?);
            pair.map_err(|error| Error::invalid(pair_problem(&error, cert, key)))
        }
        (Some(cert), None) => Err(Error::invalid(format!("{} is given without its key", name_of(cert, "cert_pem")))),
        (None, Some(key)) => {
            Err(Error::invalid(format!("{} is given without its certificate", name_of(key, "key_pem"))))
        }
    }
}

fn pair_problem(error: &TlsError, cert: &Pem, key: &Pem) -> String {
    let (cert, key) = (name_of(cert, "cert_pem"), name_of(key, "key_pem"));
    match error {
        TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => format!("{key} is not the key of {cert}"),
        other => format!("{cert} with {key} can't be used: {other}"),
    }
}

fn roots(ca_cert: Option<&Pem>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match ca_cert {
        Some(pem) => {
            for certificate in certificates(pem, "the CA certificate")? {
                let added = roots.add(certificate);
                added.map_err(|error| {
                    Error::invalid(format!("{} holds no usable CA certificate: {error}", name_of(pem, "ca_cert_pem")))
                })?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let problem = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
                let what = format!("no CA certificate is given, and the system's can't be had{problem}");
                return Err(Error::invalid(what));
            }
        }
    }
    Ok(roots)
}

fn certificates(pem: &Pem, what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = read(pem)?;
    let certificates = CertificateDer::pem_slice_iter(&bytes).collect::<std::result::Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(problem(pem, format!("no certificate in it, where {what} is wanted"))),
        Err(error) => Err(problem(pem, format!("{what} can't be read: {error}"))),
    }
}

fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>> {
    let bytes = read(pem)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| problem(pem, format!("no private key can be read: {error}")))
}

fn read(pem: &Pem) -> Result<Vec<u8>> {
    match pem {
        Pem::Memory(bytes) => Ok(bytes.clone()),
        Pem::File(path) => std::fs::read(path).map_err(|error| file_error(path, error)),
    }
}

fn problem(pem: &Pem, what: String) -> Error {
    match pem {
        Pem::File(path) => file_error(path, io::Error::new(io::ErrorKind::InvalidData, what)),
        Pem::Memory(_) => Error::invalid(what),
    }
}

fn file_error(path: &Path, source: io::Error) -> Error {
    Error::File { path: path.to_owned(), source: Arc::new(source) }
}

fn name_of(pem: &Pem, in_memory: &str) -> String {
    match pem {
        Pem::File(path) => path.display().to_string(),
        Pem::Memory(_) => in_memory.to_owned(),
    }
}

/// Takes any certificate, as `tls_insecure_skip_verify` asks; that the peer has its key is still checked.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
