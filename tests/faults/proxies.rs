//! The proxy itself: it does the harm that it is told to do, and no other.

use crate::common::{Direction, End, FakeGateway, Fault, Proxy, Random, timed};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const REQUEST: &[u8] = b"POST /x HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

fn gateway() -> FakeGateway {
    FakeGateway::sending(ANSWER)
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.url().replace("http://", "")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

/// Sends a request and tells what comes, and how that ends.
fn exchange(proxy: &Proxy) -> (String, Option<ErrorKind>) {
    let mut stream = connect(proxy);
    let _ = stream.write_all(REQUEST);
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer).err().map(|error| error.kind());
    (String::from_utf8(answer).unwrap(), ended)
}

#[test]
fn without_a_fault_it_forwards_everything() {
    let gateway = gateway();
    let proxy = Proxy::start(gateway.url());
    assert_eq!(exchange(&proxy), (ANSWER.to_owned(), None));
    assert_eq!(gateway.last().body, b"body");
    assert_eq!(proxy.forwarded(Direction::Request), REQUEST.len());
    assert_eq!(proxy.forwarded(Direction::Answer), ANSWER.len());
}

#[test]
fn it_ends_a_connection_after_the_byte_it_is_told() {
    let gateway = gateway();
    let proxy = Proxy::start(gateway.url());
    for bytes in 0..ANSWER.len() {
        proxy.inject(Fault::After(Direction::Answer, bytes, End::Close));
        assert_eq!(exchange(&proxy), (ANSWER[..bytes].to_owned(), None));
        proxy.inject(Fault::After(Direction::Answer, bytes, End::HalfClose));
        assert_eq!(exchange(&proxy), (ANSWER[..bytes].to_owned(), None));
    }
    for bytes in 0..REQUEST.len() {
        let before = gateway.requests().len();
        proxy.inject(Fault::After(Direction::Request, bytes, End::Close));
        assert_eq!(exchange(&proxy).0, "");
        assert_eq!(gateway.requests().len(), before);
    }
}

#[test]
fn a_reset_is_a_reset() {
    let gateway = gateway();
    let proxy = Proxy::start(gateway.url());
    proxy.inject(Fault::After(Direction::Answer, 0, End::Reset));
    assert_eq!(exchange(&proxy).1, Some(ErrorKind::ConnectionReset));
    proxy.heal();
    proxy.inject(Fault::Hole);
    let mut stream = connect(&proxy);
    stream.write_all(REQUEST).unwrap();
    crate::common::wait_until(crate::common::LONG, || proxy.open_connections() == 1 && gateway.connections() == 2);
    proxy.cut(End::Reset);
    proxy.heal();
    assert_eq!(stream.read(&mut [0; 10]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn it_refuses_connections_until_it_is_healed() {
    let gateway = gateway();
    let proxy = Proxy::start(gateway.url());
    for _ in 0..20 {
        proxy.inject(Fault::Refuse);
        let error = TcpStream::connect(proxy.url().replace("http://", "")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        proxy.heal();
        assert_eq!(exchange(&proxy), (ANSWER.to_owned(), None));
    }
}

#[test]
fn a_hole_swallows_and_gives_back() {
    let gateway = gateway();
    let proxy = Proxy::start(gateway.url());
    for fault in [Fault::Hole, Fault::After(Direction::Request, 10, End::Stall)] {
        proxy.inject(fault);
        let before = gateway.requests().len();
        let mut stream = connect(&proxy);
        stream.write_all(REQUEST).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert_eq!(stream.read(&mut [0; 10]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(gateway.requests().len(), before);
        // What was sent arrives although its sender has gone.
        drop(stream);
        proxy.heal();
        crate::common::wait_until(crate::common::LONG, || gateway.requests().len() == before + 1);
    }
}

#[test]
fn a_fault_for_once_strikes_once() {
    let gateway = gateway();
    let proxy = Proxy::start(gateway.url());
    proxy.inject_once(Fault::After(Direction::Answer, 5, End::Close));
    assert_eq!(exchange(&proxy).0, ANSWER[..5]);
    assert_eq!(exchange(&proxy).0, ANSWER);
}

#[test]
fn it_delays_drips_and_merges() {
    let gateway = gateway();
    let proxy = Proxy::start(gateway.url());
    let pause = Duration::from_millis(2);
    for (fault, least) in [
        (Fault::Delay(Direction::Answer, 50 * pause), 50 * pause),
        (Fault::Drip(Direction::Answer, pause), pause * ANSWER.len() as u32),
        (Fault::Drip(Direction::Request, pause), pause * REQUEST.len() as u32),
        (Fault::Merge(Direction::Request, 10 * pause), 10 * pause),
    ] {
        proxy.inject(fault);
        let (answer, took) = timed(|| exchange(&proxy));
        assert_eq!(answer, (ANSWER.to_owned(), None), "{fault:?}");
        assert!(took >= least, "{fault:?}: {took:?}");
    }
}

#[test]
fn it_answers_in_the_servers_place() {
    let gateway = gateway();
    let proxy = Proxy::start(gateway.url());
    proxy.inject(Fault::BadGateway);
    let mut stream = connect(&proxy);
    for _ in 0..2 {
        stream.write_all(REQUEST).unwrap();
        let mut answer = [0; 300];
        let count = stream.read(&mut answer).unwrap();
        assert!(answer[..count].starts_with(b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html"));
    }
    assert_eq!(gateway.requests().len(), 0);
    proxy.heal();
    stream.write_all(REQUEST).unwrap();
    assert!(stream.read(&mut [0; 10]).unwrap() > 0);
    assert_eq!(gateway.requests().len(), 1);
}

#[test]
fn random_faults_follow_from_their_seed() {
    let sequence = |seed| {
        let mut random = Random::new(seed);
        (0..100).map(|_| Fault::random(&mut random)).collect::<Vec<_>>()
    };
    assert_eq!(sequence(1), sequence(1));
    assert_ne!(sequence(1), sequence(2));
}
