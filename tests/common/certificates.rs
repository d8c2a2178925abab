//! Certificates for servers and clients, right ones and wrong ones.

use super::TempDir;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// An authority, and what it has signed, in files of a temporary folder.
pub struct Certificates {
    dir: TempDir,
    authority: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Identity {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Certificates {
    /// A new authority; its certificate is in [`ca`](Certificates::ca).
    pub fn new() -> Certificates {
        let dir = TempDir::new("certificates");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(dir.path().join("ca.pem"), certificate.pem()).unwrap();
        Certificates { dir, authority: Issuer::new(params, key) }
    }

    /// The authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A certificate for these names and addresses. etcd's gateway shows the server's certificate as a client, too.
    pub fn issue(&self, name: &str, subjects: &[&str]) -> Identity {
        self.issue_to(DistinguishedName::default(), name, subjects, 1975..4096)
    }

    /// The same for these years only.
    pub fn issue_valid_in(&self, name: &str, subjects: &[&str], years: Range<i32>) -> Identity {
        self.issue_to(DistinguishedName::default(), name, subjects, years)
    }

    /// The same with a common name.
    pub fn issue_with_common_name(&self, common_name: &str, name: &str, subjects: &[&str]) -> Identity {
        let mut holder = DistinguishedName::default();
        holder.push(DnType::CommonName, common_name);
        self.issue_to(holder, name, subjects, 1975..4096)
    }

    fn issue_to(&self, holder: DistinguishedName, name: &str, subjects: &[&str], years: Range<i32>) -> Identity {
        let mut params =
            CertificateParams::new(subjects.iter().map(|subject| (*subject).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = holder;
        params.serial_number = Some(serial_number(name));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (date_time_ymd(years.start, 1, 1), date_time_ymd(years.end, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        let identity = Identity { cert: self.path(&format!("{name}.pem")), key: self.path(&format!("{name}-key.pem")) };
        std::fs::write(&identity.cert, certificate.pem()).unwrap();
        std::fs::write(&identity.key, key.serialize_pem()).unwrap();
        identity
    }

    /// The authority's list of revoked certificates, with the one of this name on it.
    pub fn revoke(&self, name: &str) -> PathBuf {
        let revoked = RevokedCertParams {
            serial_number: serial_number(name),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(4096, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.path("revoked.crl");
        std::fs::write(&path, list.signed_by(&self.authority).unwrap().der()).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The flags of a server with this identity; with `client_auth` it wants a certificate of its clients.
    pub fn flags(&self, identity: &Identity, client_auth: bool) -> Vec<String> {
        let shown = |path: &Path| path.display().to_string();
        let mut flags =
            vec![format!("--cert-file={}", shown(&identity.cert)), format!("--key-file={}", shown(&identity.key))];
        if client_auth {
            flags.extend([format!("--trusted-ca-file={}", shown(&self.ca())), "--client-cert-auth=true".to_owned()]);
        }
        flags
    }
}

/// A number that a certificate is known by in a list of revoked ones, from the name of its file.
fn serial_number(name: &str) -> SerialNumber {
    SerialNumber::from_slice(&[&[1], name.as_bytes()].concat())
}
