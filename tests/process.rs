//! Signals during calls over TLS. tests/c/signals.c and tests/c/process.c have what needs no certificates.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "sends signals")]

mod common;

use common::{Certificates, Etcd, EtcdOptions, LONG, config, get, put, versions};
use etcdgw::client::Client;
use etcdgw::config::{Config, Pem, TlsConfig};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn server() -> (Etcd, Certificates, TlsConfig) {
    let certificates = Certificates::new();
    let flags = certificates.flags(&certificates.issue("server", &["127.0.0.1"]), false);
    let etcd = Etcd::start_with(&versions().pop().unwrap(), EtcdOptions { flags, tls: true, host: None });
    let tls = TlsConfig { ca_cert: Some(Pem::File(certificates.ca())), ..TlsConfig::default() };
    (etcd, certificates, tls)
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn signals_that_interrupt_calls_over_tls_are_not_seen() {
    let (etcd, _certificates, tls) = server();
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as *const () as usize;
        // No SA_RESTART: every system call that waits is interrupted.
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
    }
    let over = AtomicBool::new(false);
    let (target, large) = (unsafe { libc::pthread_self() }, vec![b'v'; 500_000]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                unsafe { libc::pthread_kill(target, libc::SIGUSR1) };
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        for round in 0..20 {
            // A handshake each.
            let client = Client::new(Config { tls: tls.clone(), ..config(&etcd.url()) }).unwrap();
            let value = if round % 2 == 0 { &large[..] } else { b"small" };
            put(&client, b"key", value).unwrap();
            assert!(get(&client, b"key").unwrap().unwrap() == value);
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(HANDLED.load(Ordering::Relaxed) > 100);
}

#[test]
fn a_server_that_is_gone_while_it_is_written_to_over_tls_raises_no_sigpipe() {
    let (mut etcd, _certificates, tls) = server();
    // Rust's programs ignore the signal; others die of it.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let client = Client::new(Config { tls, ..config(&etcd.url()) }).unwrap();
    let large = vec![b'v'; 1_000_000];
    let (failed, end) = (AtomicUsize::new(0), Instant::now() + LONG);
    let is_over = || failed.load(Ordering::Relaxed) >= 4 || Instant::now() > end;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over() {
                    let is_lost = put(&client, b"key", &large).is_err();
                    failed.fetch_add(usize::from(is_lost), Ordering::Relaxed);
                }
            });
        }
        while !is_over() {
            std::thread::sleep(Duration::from_millis(100));
            etcd.restart();
        }
    });
    assert!(failed.load(Ordering::Relaxed) > 0);
    put(&client, b"key", b"value").unwrap();
}
