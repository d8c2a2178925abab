//! Passwords and tokens don't stay behind in memory that is freed.
//!
//! The allocator of this program looks into every block that is freed, on the library's threads and on those that ask it
//! to: those that use the library, and not those of the gateway, whose own copies stay where they are. Every block starts
//! empty, so that what is found was not left there by a gateway that had the block before.
#![allow(unsafe_code, clippy::unwrap_used, clippy::panic)]

mod common;

use common::{EtcdFace, FakeGateway, LONG, Reply, Request, config, get, put, wait_until, within};
use etcdgw::client::Client;
use etcdgw::config::{Config, Credentials};
use etcdgw::rpc::Keys;
use etcdgw::rpc::watch::WatchRequest;
use etcdgw::watch::WatchOptions;
use std::alloc::{GlobalAlloc, Layout, System};
use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Every other byte of these is a secret's; so that no copy of a secret stands where this program keeps them.
const PASSWORD: &[u8] = b"p.4.s.s.-.w.0.r.d.-.o.f.-.t.h.e.-.t.e.s.t";
const TOKEN: &[u8] = b"t.0.k.e.n.-.o.f.-.t.h.e.-.t.e.s.t...1.7";

thread_local! {
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
    static FOUND: Cell<usize> = const { Cell::new(0) };
}

/// The same of the library's own threads, whichever test they work for.
static FOUND_ON_ITS_THREADS: AtomicUsize = AtomicUsize::new(0);

struct LooksIntoWhatIsFreed;

/// Whether this is one of the library's threads, whose names all begin alike. It allocates nothing.
fn is_its_thread() -> bool {
    let mut name = [0_u8; 16];
    // SAFETY: the kernel writes at most 16 bytes, the last of them zero.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    name.starts_with(b"etcdgw-")
}

/// Whether a secret stands in a block.
///
/// # Safety
/// `block` points to `size` bytes.
unsafe fn holds(block: *const u8, size: usize, spread: &[u8]) -> bool {
    let length = spread.len().div_ceil(2);
    (0..size.saturating_sub(length - 1)).any(|start| {
        let mut letters = spread.iter().step_by(2).enumerate();
        // SAFETY: within the block. Volatile, since what was never written may be read.
        letters.all(|(at, letter)| unsafe { block.add(start + at).read_volatile() } == *letter)
    })
}

// SAFETY: the system's allocator, which is only looked at. Growing a block is left to the default, which frees the old.
unsafe impl GlobalAlloc for LooksIntoWhatIsFreed {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let is_caller = IS_WATCHED.try_with(Cell::get) == Ok(true);
        if is_caller || is_its_thread() {
            // SAFETY: the block is the caller's until it is freed below.
            if unsafe { holds(block, layout.size(), PASSWORD) || holds(block, layout.size(), TOKEN) } {
                if is_caller {
                    FOUND.set(FOUND.get() + 1);
                } else {
                    FOUND_ON_ITS_THREADS.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: LooksIntoWhatIsFreed = LooksIntoWhatIsFreed;

/// Runs something and counts the blocks that it freed with a secret in them.
fn blocks_with_secrets(run: impl FnOnce()) -> usize {
    FOUND.set(0);
    IS_WATCHED.set(true);
    run();
    IS_WATCHED.set(false);
    FOUND.get()
}

/// The text of a secret; it has as much room as it needs, so that it is moved nowhere.
fn spelled(spread: &[u8]) -> String {
    let mut text = String::with_capacity(spread.len());
    text.extend(spread.iter().step_by(2).map(|letter| char::from(*letter)));
    text
}

fn user() -> Credentials {
    Credentials::User { name: "user".to_owned(), password: spelled(PASSWORD).into() }
}

fn watch_options() -> WatchOptions {
    WatchOptions::new(WatchRequest { start_revision: 5, ..WatchRequest::new(Keys::One(Cow::Borrowed(b"key"))) })
}

fn gateway(answer: impl Fn(&Request, &mut Reply<'_>) + Send + Sync + 'static) -> FakeGateway {
    FakeGateway::start(move |request, reply| match request.path.as_str() {
        "/v3/auth/authenticate" => answer(request, reply),
        _ => reply.json("{}"),
    })
}

fn token_json() -> String {
    format!(r#"{{"header":{{"revision":"4"}},"token":"{}"}}"#, spelled(TOKEN))
}

#[test]
fn the_allocator_finds_a_secret_that_is_freed() {
    let found = blocks_with_secrets(|| {
        drop(spelled(TOKEN));
        drop(format!("in the midst: {}!", spelled(PASSWORD)));
        drop(spelled(b"s.o.m.e.t.h.i.n.g. .e.l.s.e"));
    });
    // The text in the midst was grown on the way, perhaps.
    assert!(found >= 3, "{found}");
}

#[test]
fn nothing_is_left_of_a_session_with_user_and_password() {
    let gateway = gateway(|_, reply| reply.json(token_json()));
    let found = blocks_with_secrets(|| {
        let client = Client::new(Config { credentials: user(), ..config(gateway.url()) }).unwrap();
        put(&client, b"key", b"value").unwrap();
        // Larger than what a connection keeps, so that its buffer is freed.
        put(&client, b"key", &[b'v'; 300_000]).unwrap();
        get(&client, b"key").unwrap();
        let mut options = watch_options();
        options.call = within(Duration::from_millis(300));
        client.watch_once(options).unwrap_err();
    });
    assert_eq!(found, 0);
    assert_eq!(gateway.last().header("authorization"), Some(spelled(TOKEN).as_str()));
}

/// A gateway whose watches are WebSockets, or streams, and end soon after they began. It counts those that have the token.
fn gateway_of_short_watches(is_websocket: bool, begun: Arc<AtomicUsize>) -> FakeGateway {
    let has = move |carrier: Option<&str>| {
        assert!(carrier.is_some_and(|value| value.ends_with(&spelled(TOKEN))), "{carrier:?}");
        begun.fetch_add(1, Ordering::SeqCst);
    };
    let face = EtcdFace::of("3.6.16");
    FakeGateway::start(move |request, reply| match (&*request.verb, &*request.path) {
        ("POST", "/v3/auth/authenticate") => reply.json(token_json()),
        ("GET", "/v3/watch") if is_websocket => {
            has(request.header("sec-websocket-protocol"));
            let mut socket = reply.upgrade(request);
            socket.create();
            socket.created(1, 4);
            socket.close();
            reply.close();
        }
        ("GET", "/v3/watch") => reply.status("403 Forbidden", ""),
        ("POST", "/v3/watch") => {
            has(request.header("authorization"));
            reply.stream_head();
            reply.chunk(concat!(r#"{"result":{"header":{"revision":"4"},"created":true}}"#, "\n"));
            reply.close();
        }
        _ => face.answer(request, reply),
    })
}

#[test]
fn nothing_is_left_of_a_token_by_the_threads_that_drive_watches() {
    for is_websocket in [true, false] {
        let begun = Arc::new(AtomicUsize::new(0));
        let gateway = gateway_of_short_watches(is_websocket, begun.clone());
        let found = blocks_with_secrets(|| {
            let client = Client::new(Config { credentials: user(), ..config(gateway.url()) }).unwrap();
            let watch = client.watch(watch_options(), Box::new(drop)).unwrap();
            wait_until(LONG, || begun.load(Ordering::SeqCst) > 3);
            drop((watch, client));
        });
        assert_eq!(found, 0, "WebSocket: {is_websocket}");
        assert_eq!(FOUND_ON_ITS_THREADS.load(Ordering::SeqCst), 0, "WebSocket: {is_websocket}");
    }
}

#[test]
fn nothing_is_left_of_answers_that_come_bit_by_bit_or_are_no_good() {
    let answers: [fn(&mut Reply<'_>); 5] = [
        |reply| {
            reply.stream_head();
            token_json().bytes().for_each(|byte| reply.chunk([byte]));
            reply.end();
        },
        |reply| reply.json(format!("{} and more", token_json())),
        |reply| reply.json(format!(r#"{{"token":"{} "}}"#, spelled(TOKEN))),
        |reply| {
            reply.stream_head();
            reply.chunk(token_json());
            reply.raw("no size");
            reply.close();
        },
        |reply| {
            reply.raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n{}", token_json()));
            reply.close();
        },
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let gateway = gateway(move |_, reply| answer(reply));
        let found = blocks_with_secrets(|| {
            let client = Client::new(Config { credentials: user(), ..config(gateway.url()) }).unwrap();
            let _ = common::put_with(&client, b"key", b"value", &within(Duration::from_millis(300)));
        });
        assert_eq!(found, 0, "answer {number}");
    }
}

#[test]
fn nothing_is_left_of_credentials_that_are_replaced_or_never_used() {
    let gateway = gateway(|_, reply| reply.json(r#"{"token":"other"}"#));
    let found = blocks_with_secrets(|| {
        let client = Client::new(Config { credentials: user(), ..config(gateway.url()) }).unwrap();
        put(&client, b"key", b"value").unwrap();
        client.set_credentials(Credentials::Token(spelled(TOKEN).into())).unwrap();
        put(&client, b"key", b"value").unwrap();
        client.set_credentials(user()).unwrap();
        drop(client);
        drop(Client::new(Config { credentials: user(), ..config("ftp://nothing") }));
        drop(Client::new(Config { credentials: Credentials::Token((spelled(TOKEN) + " x").into()), ..config("a") }));
    });
    assert_eq!(found, 0);
}

#[test]
fn nothing_is_left_of_a_password_that_is_given_to_somebody_else() {
    let gateway = gateway(|_, reply| reply.json("{}"));
    let client = Client::new(config(gateway.url())).unwrap();
    let (add, change) = (spelled(PASSWORD).into(), spelled(PASSWORD).into());
    let found = blocks_with_secrets(|| {
        client.user_add("other", Some(&add), &common::plain()).unwrap();
        client.user_change_password("other", &change, &common::plain()).unwrap();
        // So large that the buffer that they went through is freed.
        put(&client, b"key", &[b'v'; 300_000]).unwrap();
        drop((add, change, client));
    });
    assert_eq!(found, 0);
    let sent = gateway
        .requests()
        .iter()
        .filter(|request| request.body.ends_with(format!("{}\"}}", spelled(PASSWORD)).as_bytes()))
        .count();
    assert_eq!(sent, 2);
}

#[test]
fn nothing_is_left_of_a_password_that_the_caller_posts() {
    let gateway = gateway(|_, reply| reply.json("{}"));
    let json = format!(r#"{{"name":"other","password":"{}"}}"#, spelled(PASSWORD));
    let client = Client::new(config(gateway.url())).unwrap();
    let found = blocks_with_secrets(|| {
        client.post("auth/user/add", json.as_bytes(), &common::plain()).unwrap();
        drop(client);
    });
    assert_eq!(found, 0);
}
