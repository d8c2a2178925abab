//! rustls' configuration from ours.

use super::name_of;
use super::pem::{certificates, private_key};
use crate::config::{Pem, TlsConfig};
use crate::error::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, InconsistentKeys, RootCertStore, SignatureScheme,
};
use std::sync::Arc;

/// Reads and checks everything.
pub(super) fn build(config: &TlsConfig) -> Result<ClientConfig> {
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
            let pair = SingleCertAndKey::from(certified_key(cert, key)?);
            Ok(verified.with_client_cert_resolver(Arc::new(pair)))
        }
        (Some(cert), None) => {
            let cert = name_of(cert, "cert_pem");
            Err(Error::invalid(format!("{cert} is given without its key, for which there are key_file and key_pem")))
        }
        (None, Some(key)) => {
            let key = name_of(key, "key_pem");
            let what = format!("{key} is given without its certificate, for which there are cert_file and cert_pem");
            Err(Error::invalid(what))
        }
    }
}

/// By hand, since rustls' own way leaves the key behind in memory.
fn certified_key(cert: &Pem, key: &Pem) -> Result<CertifiedKey> {
    let problem = |error: &TlsError| Error::invalid(pair_problem(error, cert, key));
    let chain = certificates(cert, "the client certificate", "cert_pem")?;
    let key_der = private_key(key, "key_pem")?;
    let signing = ring::sign::any_supported_type(&key_der).map_err(|error| problem(&error))?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(error) => Err(problem(&error)),
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
            for certificate in certificates(pem, "the CA certificate", "ca_cert_pem")? {
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

/// Takes any certificate, as `tls_insecure_skip_verify` asks; that the peer has its key is still checked, where that can be:
/// not of a key on P-521, which `etcd --auto-tls` makes.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

/// What ring can't check.
const UNCHECKED: SignatureScheme = SignatureScheme::ECDSA_NISTP521_SHA512;

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
        if signed.scheme == UNCHECKED {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        if signed.scheme == UNCHECKED {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.0.signature_verification_algorithms.supported_schemes();
        schemes.push(UNCHECKED);
        schemes
    }
}
