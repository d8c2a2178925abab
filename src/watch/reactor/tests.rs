#![allow(clippy::unwrap_used)]

use super::*;
use crate::channel::{Grant, OpenSocket};
use crate::error::Outcome;
use crate::fuzzing::Server;
use crate::gateway::websocket::WebSocket;
use crate::limits;
use crate::net::{Control, Lifeline, Resolver};
use crate::rpc::Keys;
use crate::rpc::watch::WatchRequest;
use crate::stats::Stats;
use crate::watch::account::{self, Account};
use crate::watch::buffers::Buffers;
use crate::watch::confirmation::Confirmation;
use crate::watch::entry::Way;
use crate::watch::mailbox::{Mailbox, Origin};
use std::io;
use std::net::TcpListener;

/// A reactor whose member takes connections, and answers nothing.
fn unanswered() -> (Reactor, TcpListener) {
    let member = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = Config { endpoints: format!("http://{}", member.local_addr().unwrap()), ..Config::default() };
    let settings = Settings::new(&config, Namespace::default());
    let channel = Arc::new(Channel::new(config).unwrap());
    (Reactor::new(channel, Arc::new(Switchboard::new().unwrap()), settings).unwrap(), member)
}

/// Hands a watch over, whose caller waits for its confirmation.
fn begin(reactor: &Reactor, watch: u64) -> Arc<Confirmation> {
    let (namespace, max_revision_bytes) = (Namespace::default(), usize::MAX);
    let settings = account::Settings {
        namespace,
        shows_progress: false,
        reports_connection: false,
        follows_read: false,
        max_revision_bytes,
    };
    let buffers = Arc::new(Buffers::new(usize::MAX, usize::MAX, Arc::<Stats>::default()));
    let confirmation = Arc::new(Confirmation::new(Deadline::after(limits::DEFAULT_TIMEOUT)));
    let is_taken = reactor.board.send(Message::Start(Box::new(Start {
        watch,
        mailbox: Mailbox::pulled(Origin { feeder: reactor.board.clone(), watch, buffers }),
        account: Account::new(1, settings),
        request: Arc::new(WatchRequest::new(Keys::one(b"k").into_owned())),
        require_leader: true,
        confirmation: Some(confirmation.clone()),
        way: Arc::new(Way::new()),
    })));
    assert!(is_taken);
    confirmation
}

#[test]
fn whatever_was_begun_before_the_watches_can_not_be_waited_for_any_more_ends_at_once_and_says_why() {
    let (mut reactor, member) = unanswered();
    let channel = reactor.channel.clone();
    let early = begin(&reactor, 1);
    assert!(reactor.turn());
    let _asked = member.accept().unwrap();
    let late = begin(&reactor, 2);
    reactor.epoll = Epoll::broken();
    assert!(!reactor.turn());
    Box::new(reactor).finish();
    for confirmation in [early, late] {
        let told = confirmation.wait(&channel, &Control { deadline: confirmation.deadline(), cancel: None });
        assert!(matches!(told, Err(Error::System { .. })), "{told:?}");
    }
}

#[test]
fn a_member_whose_name_can_not_be_looked_up_keeps_its_socket_and_one_that_takes_no_connection_loses_it() {
    let resolver = Resolver::asking(|_| Err(io::Error::other("the network's name server has gone")));
    let lifeline = Lifeline::new().unwrap();
    let unknown = resolver.resolve("etcd.example", 2379, &lifeline, &Control::UNBOUNDED).unwrap_err();
    for (source, is_kept) in [(unknown, true), (io::Error::from(io::ErrorKind::ConnectionRefused), false)] {
        let (mut reactor, _member) = unanswered();
        let endpoint: Arc<str> = Arc::from("http://etcd.example:2379");
        let (connection, _peer) = Server::new().connect();
        let socket = WebSocket::new(endpoint.clone(), connection, usize::MAX).unwrap();
        let open = OpenSocket { socket, grant: Grant::NONE, orders_progress: true };
        reactor.sockets.insert(1, SharedSocket::new(Box::new(open), true));
        let (outcome, source) = (Outcome::NotApplied, Arc::new(source));
        reactor.take_member_state(&endpoint, Err(Error::Connect { endpoint: endpoint.clone(), outcome, source }));
        assert_eq!(reactor.sockets.contains_key(&1), is_kept);
    }
}
