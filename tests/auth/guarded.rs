//! Real servers with authentication.

use crate::common::{Etcd, for_each_version_with, plain};
use crate::door::{client_as, user};
use etcdgw::client::Client;

/// Runs a test on a fresh server of every version, on which authentication is not enabled yet. Its hashes are cheap:
/// what bcrypt costs is not what is tested.
#[track_caller]
pub fn on_each(flags: &[&str], run: impl Fn(Etcd) + Sync) {
    for_each_version_with(&[&["--bcrypt-cost=4"], flags].concat(), run);
}

#[track_caller]
pub fn post(client: &Client, path: &str, json: &str) {
    client.post(path, json.as_bytes(), &plain()).unwrap();
}

/// Makes a `root`, and an `app` who may use the keys that start with `app/`.
#[track_caller]
pub fn add_users(client: &Client) {
    post(client, "auth/user/add", r#"{"name":"root","password":"root-password"}"#);
    post(client, "auth/role/add", r#"{"name":"root"}"#);
    post(client, "auth/user/grant", r#"{"user":"root","role":"root"}"#);
    post(client, "auth/user/add", r#"{"name":"app","password":"app-password"}"#);
    post(client, "auth/role/add", r#"{"name":"app"}"#);
    let [key, range_end] = ["app/", "app0"].map(|key| base64_simd::STANDARD.encode_to_string(key));
    let permission = format!(r#"{{"permType":"READWRITE","key":"{key}","range_end":"{range_end}"}}"#);
    post(client, "auth/role/grant", &format!(r#"{{"name":"app","perm":{permission}}}"#));
    post(client, "auth/user/grant", r#"{"user":"app","role":"app"}"#);
}

/// Enables authentication.
#[track_caller]
pub fn enable(etcd: &Etcd) {
    let client = root(etcd);
    add_users(&client);
    post(&client, "auth/enable", "{}");
}

pub fn root(etcd: &Etcd) -> Client {
    client_as(&etcd.url(), user("root", "root-password"))
}

pub fn app(etcd: &Etcd) -> Client {
    client_as(&etcd.url(), user("app", "app-password"))
}

/// A token as somebody else would get it.
#[track_caller]
pub fn issue_token(etcd: &Etcd, name: &str, password: &str) -> String {
    let request = serde_json::json!({ "name": name, "password": password }).to_string();
    let client = crate::common::client(&etcd.url());
    let answer = client.post("auth/authenticate", request.as_bytes(), &plain()).unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    answer["token"].as_str().unwrap().to_owned()
}
