//! Watches that share a connection to a real server with authentication, whose token expires or whose role is revoked.

use crate::common::{End, Etcd, LONG, Proxy, TempDir, put_revision, wait_until, with_each_sharing_version};
use crate::door::{client_as, user};
use crate::guarded::*;
use crate::watching::*;
use etcdgw::client::Client;
use etcdgw::error::Code;
use etcdgw::watch::{Watch, WatchKind};
use std::thread;
use std::time::Duration;

fn on_each_sharing(flags: &[&str], run: impl Fn(Etcd) + Sync) {
    let flags = [&["--bcrypt-cost=4"], flags].concat();
    with_each_sharing_version(|version| run(Etcd::start_with_flags(version, &flags)));
}

/// Has a server sign its tokens.
fn signed(dir: &TempDir, ttl: &str) -> String {
    std::fs::write(dir.path().join("key"), "a key of the tests").unwrap();
    format!("--auth-token=jwt,priv-key={}/key,sign-method=HS256,ttl={ttl}", dir.path().display())
}

/// So many watches of one prefix.
fn begin(client: &Client, keys: &'static [u8], count: usize) -> Vec<(Seen, Watch)> {
    let begin = |_| {
        let (seen, consumer) = Seen::new();
        let watch = client.watch(reporting(prefix(keys)), consumer).unwrap();
        watch.start();
        (seen, watch)
    };
    (0..count).map(begin).collect()
}

/// Each has been told exactly what was written.
#[track_caller]
fn assert_told(watches: &[(Seen, Watch)], written: &[i64]) {
    for (seen, _) in watches {
        let revisions: Vec<i64> = seen.wait_for_changes(written.len()).iter().map(|change| change.revision).collect();
        assert_eq!(revisions, written);
        assert_exact(&seen.all());
        assert!(seen.all().iter().all(|said| said.kind != WatchKind::Ended), "{:?}", seen.all().last());
    }
}

fn outlive_their_token(etcd: &Etcd) {
    const COUNT: usize = 20;
    enable(etcd);
    let (way, writer) = (Proxy::start(&etcd.url()), root(etcd));
    let client = client_as(&way.url(), user("app", "app-password"));
    let watches = begin(&client, b"app/", COUNT);
    assert_eq!((etcd.watch_streams(), etcd.watchers()), (1, COUNT));
    let mut written = Vec::new();
    let write = |written: &mut Vec<i64>| written.push(put_revision(&writer, b"app/key", b""));
    let logins = || client.stats().token_refreshes;
    // Idle until the token has died of old age: etcd looks at it when a watch is created, and not before.
    let before = logins();
    write(&mut written);
    thread::sleep(Duration::from_secs(3));
    write(&mut written);
    assert_eq!(logins(), before);
    // One more finds that out, and all move to another connection; nobody is told, for nothing was lost.
    drop(client.watch_open(from(prefix(b"app/"), written[0])).unwrap());
    assert_eq!(logins(), before + 1);
    write(&mut written);
    wait_until(LONG, || (etcd.watch_streams(), etcd.watchers()) == (1, COUNT));
    assert_told(&watches, &written);
    assert!(watches.iter().all(|(seen, _)| seen.all().iter().all(|said| said.kind == WatchKind::Events)));
    // The same where the connection is lost while the token is dead.
    for _ in 0..2 {
        thread::sleep(Duration::from_secs(3));
        way.cut(End::Reset);
        write(&mut written);
        wait_until(LONG, || (etcd.watch_streams(), etcd.watchers()) == (1, COUNT));
        write(&mut written);
    }
    assert_told(&watches, &written);
    for (seen, _) in &watches {
        let count = |kind| seen.all().iter().filter(|said| said.kind == kind).count();
        assert_eq!((count(WatchKind::Disconnected), count(WatchKind::Resumed)), (2, 2));
    }
    assert!((before + 3..before + 6).contains(&logins()), "{} logins", logins());
}

#[test]
fn watches_of_one_connection_outlive_a_token_that_expires_while_they_are_idle() {
    on_each_sharing(&["--auth-token-ttl=1"], |etcd| outlive_their_token(&etcd));
}

#[test]
fn watches_of_one_connection_outlive_a_signed_token_that_expires_while_they_are_idle() {
    let dir = TempDir::new("jwt");
    on_each_sharing(&[&signed(&dir, "2s")], |etcd| outlive_their_token(&etcd));
}

/// Makes a role for the keys that start with `other/`, and gives it to `app`.
fn grant_other(root: &Client) {
    post(root, "auth/role/add", r#"{"name":"other"}"#);
    let [key, range_end] = ["other/", "other0"].map(|key| base64_simd::STANDARD.encode_to_string(key));
    let permission = format!(r#"{{"permType":"READ","key":"{key}","range_end":"{range_end}"}}"#);
    post(root, "auth/role/grant", &format!(r#"{{"name":"other","perm":{permission}}}"#));
    post(root, "auth/user/grant", r#"{"user":"app","role":"other"}"#);
}

fn lose_a_role(etcd: &Etcd) {
    const EACH: usize = 10;
    enable(etcd);
    let (way, writer) = (Proxy::start(&etcd.url()), root(etcd));
    grant_other(&writer);
    let client = client_as(&way.url(), user("app", "app-password"));
    let (kept, lost) = (begin(&client, b"app/", EACH), begin(&client, b"other/", EACH));
    assert_eq!((etcd.watch_streams(), etcd.watchers()), (1, 2 * EACH));
    let (mut app, mut other) = (Vec::new(), Vec::new());
    let mut write = || {
        app.push(put_revision(&writer, b"app/key", b""));
        other.push(put_revision(&writer, b"other/key", b""));
    };
    write();
    post(&writer, "auth/user/revoke", r#"{"name":"app","role":"other"}"#);
    // etcd asks for permission when a watch is created: those that run go on.
    write();
    assert_told(&kept, &app);
    assert_told(&lost, &other);
    way.cut(End::Close);
    for (seen, _) in &lost {
        let ended = seen.wait_for(WatchKind::Ended);
        assert_eq!(code(ended.error.as_ref().unwrap()), Some(Code::PermissionDenied), "{ended:?}");
        assert_eq!(ended.resume_revision, other.last().unwrap() + 1);
    }
    app.push(put_revision(&writer, b"app/key", b""));
    put_revision(&writer, b"other/key", b"");
    assert_told(&kept, &app);
    wait_until(LONG, || (etcd.watch_streams(), etcd.watchers()) == (1, EACH));
    let refused = refusal(client.watch_open(prefix(b"other/")));
    assert_eq!(code(&refused), Some(Code::PermissionDenied));
    // With the role back they can be had again, on the same connection.
    post(&writer, "auth/user/grant", r#"{"user":"app","role":"other"}"#);
    let again = client.watch_open(prefix(b"other/")).unwrap();
    let revision = put_revision(&writer, b"other/key", b"");
    assert_eq!(next(&again).changes[0].revision, revision);
    assert_told(&kept, &app);
    for (seen, _) in &lost {
        assert_eq!(seen.all().last().unwrap().kind, WatchKind::Ended);
    }
}

#[test]
fn watches_whose_role_was_revoked_end_when_they_are_created_anew_and_the_others_go_on() {
    on_each_sharing(&[], |etcd| lose_a_role(&etcd));
}

#[test]
fn watches_with_signed_tokens_whose_role_was_revoked_end_when_they_are_created_anew_and_the_others_go_on() {
    let dir = TempDir::new("jwt");
    on_each_sharing(&[&signed(&dir, "10m")], |etcd| lose_a_role(&etcd));
}
