//! The face that the servers of the tests show, so that the same bodies run in front of each: `ETCDGW_TEST_FACE`.
//!
//! ```text
//! plain    in the clear, to anybody; also where nothing is said
//! tls      over TLS, to whoever has a certificate
//! secured  over TLS, to whoever has a certificate and a password: clients are a user whose role is limited to the keys
//!          below a prefix, which is theirs, so that whatever a body does with keys is within it
//! ```
//!
//! A test that brings flags of its own for TLS (`EtcdOptions::tls`) has the face that it wants.

use super::etcd::EtcdOptions;
use etcdgw::client::CallOptions;
use etcdgw::config::{Config, Credentials, Pem, TlsConfig};
use etcdgw::error::{Code, Reason};
use etcdgw::rpc::Keys;
use etcdgw::rpc::role::PermissionType;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SerialNumber,
    date_time_ymd,
};
use std::borrow::Cow;
use std::path::Path;
use std::sync::OnceLock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    Plain,
    Tls,
    Secured,
}

/// Whose keys the user of the secured face may use.
pub const PREFIX: &[u8] = b"of the user/";

const USER: &str = "limited";
const ROOT: &str = "root";

impl Face {
    /// The one that this process was told.
    pub fn of_this_run() -> Face {
        match std::env::var("ETCDGW_TEST_FACE").as_deref() {
            Err(_) | Ok("" | "plain") => Face::Plain,
            Ok("tls") => Face::Tls,
            Ok("secured") => Face::Secured,
            Ok(other) => panic!("ETCDGW_TEST_FACE is {other:?}, but must be plain, tls or secured"),
        }
    }

    /// How a server with users refuses who has none. To who has a certificate it says what the user whom that names may
    /// not do, be that nobody.
    pub fn refuses_nobody_with(self) -> (Code, Reason) {
        match self {
            Face::Plain => (Code::InvalidArgument, Reason::AuthFailed),
            Face::Tls | Face::Secured => (Code::PermissionDenied, Reason::Other),
        }
    }

    /// A server that shows this face, with its certificates in its folder.
    pub(super) fn of_server(self, mut options: EtcdOptions, dir: &Path) -> EtcdOptions {
        if self == Face::Plain || options.tls {
            return options;
        }
        let written = |name: &str, pem: &str| {
            std::fs::write(dir.join(name), pem).unwrap();
            dir.join(name).display().to_string()
        };
        let pems = pems();
        let flags = [
            format!("--cert-file={}", written("server.pem", &pems.server.0)),
            format!("--key-file={}", written("server-key.pem", &pems.server.1)),
            format!("--trusted-ca-file={}", written("ca.pem", &pems.authority)),
            "--client-cert-auth=true".to_owned(),
            "--bcrypt-cost=4".to_owned(),
        ];
        options.flags.splice(0..0, flags);
        options.tls = true;
        options
    }

    /// Settings that get a client in. Fakes are served in the clear, to anybody.
    pub(super) fn of_client(self, mut config: Config) -> Config {
        if self == Face::Plain || !config.endpoints.starts_with("https://") {
            return config;
        }
        let pems = pems();
        let pem = |text: &str| Some(Pem::Memory(text.as_bytes().to_vec()));
        let (ca_cert, cert, key) = (pem(&pems.authority), pem(&pems.client.0), pem(&pems.client.1));
        config.tls = TlsConfig { ca_cert, cert, key, ..TlsConfig::default() };
        if self == Face::Secured {
            config.credentials = named(USER);
            config.key_prefix = PREFIX.to_vec();
        }
        config
    }

    /// Makes the users and lets nobody else in, on a server or cluster that is new.
    pub(super) fn admit_users(self, url: &str) {
        if self != Face::Secured || !url.starts_with("https://") {
            return;
        }
        let client = super::administrator(url);
        let call = CallOptions::default();
        for name in [ROOT, USER] {
            client.user_add(name, Some(&password(name).as_str().into()), &call).unwrap();
            client.role_add(name, &call).unwrap();
            client.user_grant_role(name, name, &call).unwrap();
        }
        let keys = Keys::Prefix(Cow::Borrowed(PREFIX));
        client.role_grant_permission(USER, PermissionType::ReadWrite, &keys, &call).unwrap();
        client.auth_enable(&call).unwrap();
    }

    /// The same settings for who may do everything.
    pub(super) fn of_administrator(self, mut config: Config) -> Config {
        if matches!(&config.credentials, Credentials::User { name, .. } if name == USER) {
            config.credentials = named(ROOT);
        }
        config
    }
}

fn named(name: &str) -> Credentials {
    Credentials::User { name: name.to_owned(), password: password(name).as_str().into() }
}

fn password(name: &str) -> String {
    format!("the password of {name}")
}

/// Certificates with their keys, the same for all servers of this process.
struct Pems {
    authority: String,
    server: (String, String),
    client: (String, String),
}

fn pems() -> &'static Pems {
    static PEMS: OnceLock<Pems> = OnceLock::new();
    PEMS.get_or_init(|| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        // Without a common name: etcd's gateway takes none beside a user.
        let issue = |number: u64, subject: &str| {
            let mut params = CertificateParams::new(vec![subject.to_owned()]).unwrap();
            params.distinguished_name = rcgen::DistinguishedName::default();
            params.serial_number = Some(SerialNumber::from(number));
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            (params.not_before, params.not_after) = (date_time_ymd(1975, 1, 1), date_time_ymd(4096, 1, 1));
            let key = KeyPair::generate().unwrap();
            (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
        };
        Pems { authority, server: issue(1, "127.0.0.1"), client: issue(2, "client") }
    })
}
