//! Servers with users, and what they say to those who may not.

use crate::common::{Etcd, config, for_each_version_with, plain};
use etcdgw::client::Client;
use etcdgw::config::{Config, Credentials};
use etcdgw::error::{Code, Error, Reason};

/// Runs a test on a fresh server of every version, on which authentication is not enabled yet. Its hashes are cheap:
/// what bcrypt costs is not what is tested.
#[track_caller]
pub fn on_each(run: impl Fn(Etcd) + Sync) {
    for_each_version_with(&["--bcrypt-cost=4"], run);
}

pub fn user(name: &str, password: &str) -> Credentials {
    Credentials::User { name: name.to_owned(), password: password.into() }
}

/// A client that is this user, with the password that [`add_user`] gives.
#[track_caller]
pub fn client_as(url: &str, name: &str) -> Client {
    Client::new(Config { credentials: user(name, &password_of(name)), ..config(url) }).unwrap()
}

pub fn password_of(name: &str) -> String {
    format!("the password of {name}")
}

#[track_caller]
pub fn add_user(client: &Client, name: &str, roles: &[&str]) {
    client.user_add(name, Some(&password_of(name).as_str().into()), &plain()).unwrap();
    for role in roles {
        client.user_grant_role(name, role, &plain()).unwrap();
    }
}

/// Makes a `root`, who may do everything.
#[track_caller]
pub fn add_root(client: &Client) {
    client.role_add("root", &plain()).unwrap();
    add_user(client, "root", &["root"]);
}

#[track_caller]
pub fn assert_refused<T>(result: Result<T, Error>, code: Code, reason: Reason) {
    let Err(error) = result else { panic!("it was not refused") };
    assert!(matches!(&error, Error::Server { code: given, .. } if *given == code), "{error:?}");
    assert_eq!(error.reason(), reason, "{error:?}");
    assert!(!error.may_have_applied() && !error.is_retryable(), "{error:?}");
}
