//! Those who wait for what somebody else has.

use super::{Etcd, LONG, client, keys, prefix, session, wait_until};
use etcdgw::concurrency::session::Session;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Ten wait for what somebody has, each with a client and a session of its own, while the server is away and comes back.
/// Then it is released, and all of them take their turns. Whoever has it or waits has a key that starts with `line`.
pub fn ten_wait_while_the_server_is_away(
    etcd: &mut Etcd,
    line: &[u8],
    release: impl FnOnce(),
    take_turn: impl Fn(&Session, usize) + Sync,
) {
    let (url, turns) = (etcd.url(), AtomicUsize::new(0));
    let observer = client(&url);
    std::thread::scope(|scope| {
        for number in 0..10 {
            let (url, turns, take_turn) = (&url, &turns, &take_turn);
            scope.spawn(move || {
                take_turn(&session(&client(url)), number);
                turns.fetch_add(1, Ordering::SeqCst);
            });
        }
        wait_until(LONG, || keys(&observer, &prefix(line)).len() == 11);
        etcd.restart();
        assert_eq!(turns.load(Ordering::SeqCst), 0);
        release();
    });
    assert_eq!(turns.load(Ordering::SeqCst), 10);
    assert!(keys(&observer, &prefix(b"")).is_empty());
}
