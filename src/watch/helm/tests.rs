#![allow(clippy::unwrap_used)]

use super::*;
use crate::deadline::Deadline;
use crate::net::{self, Epoll};
use crate::watch::delivery::{Deliver, Delivered, DeliveryGuard};
use crate::watch::switchboard::Message;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// Takes the messages of a board, and tells the thread that does.
struct Clerk {
    board: Arc<Switchboard>,
    epoll: Epoll,
    all_have_callbacks: Arc<AtomicBool>,
    turns: Sender<String>,
}

impl Drive for Clerk {
    fn turn(&mut self) -> bool {
        self.epoll.wait(Deadline::NEVER, &mut Vec::new()).unwrap();
        let mut messages = Vec::new();
        self.board.take(&mut messages);
        if !messages.is_empty() {
            let _ = self.turns.send(std::thread::current().name().unwrap().to_owned());
        }
        !messages.iter().any(|message| matches!(message, Message::Stop))
    }

    fn suits_delivery(&self) -> bool {
        self.all_have_callbacks.load(Ordering::SeqCst)
    }

    fn finish(self: Box<Self>) {}
}

/// A clerk and both threads.
struct Office {
    board: Arc<Switchboard>,
    all_have_callbacks: Arc<AtomicBool>,
    turns: Receiver<String>,
    guard: DeliveryGuard,
    thread: JoinHandle<()>,
}

impl Office {
    fn open(all_have_callbacks: bool) -> Office {
        let board = Arc::new(Switchboard::new().unwrap());
        let (epoll, all_have_callbacks) = (Epoll::new().unwrap(), Arc::new(AtomicBool::new(all_have_callbacks)));
        epoll.add(board.as_raw_fd(), 0).unwrap();
        let (sender, turns) = channel();
        let clerk =
            Clerk { board: board.clone(), epoll, all_have_callbacks: all_have_callbacks.clone(), turns: sender };
        let helm = Arc::new(Helm::new(board.clone(), Box::new(clerk)));
        let guard = DeliveryGuard::start().unwrap();
        let delivery = guard.delivery().clone();
        let pastime: Weak<Helm> = Arc::downgrade(&helm);
        delivery.occupy(pastime);
        let thread = net::spawn("etcdgw-watch", move || helm.run()).unwrap();
        Office { board, all_have_callbacks, turns, guard, thread }
    }

    /// Leaves a message. Answers the thread that takes it.
    fn thread_that_drives(&self) -> String {
        assert!(self.board.send(Message::AskProgress(0)));
        self.turns.recv().unwrap()
    }

    fn wait_until_driven_by(&self, wanted: &str) {
        while self.thread_that_drives() != wanted {}
    }

    fn close(self) {
        assert!(self.board.send(Message::Stop));
        self.thread.join().unwrap();
    }
}

/// A callback that lasts until it is told to return.
struct Slow {
    begun: Sender<()>,
    ends: std::sync::Mutex<Receiver<()>>,
}

impl Deliver for Slow {
    fn deliver(&self) -> Delivered {
        self.begun.send(()).unwrap();
        let _ = net::lock(&self.ends).recv();
        Delivered::All
    }
}

/// Begins a callback. It returns when what is answered is dropped.
fn slow_callback(office: &Office) -> Sender<()> {
    let ((begun, begins), (returns, ends)) = (channel(), channel());
    office.guard.delivery().schedule(Arc::new(Slow { begun, ends: std::sync::Mutex::new(ends) }));
    begins.recv().unwrap();
    returns
}

#[test]
fn the_delivery_thread_drives_where_all_watches_have_callbacks() {
    let office = Office::open(true);
    office.wait_until_driven_by("etcdgw-deliver");
    assert_eq!(office.thread_that_drives(), "etcdgw-deliver");
    office.close();
}

#[test]
fn watches_go_on_to_be_driven_while_a_callback_takes_its_time_and_return_to_the_delivery_thread() {
    let office = Office::open(true);
    office.wait_until_driven_by("etcdgw-deliver");
    let returns = slow_callback(&office);
    for _ in 0..3 {
        assert_eq!(office.thread_that_drives(), "etcdgw-watch");
    }
    drop(returns);
    office.wait_until_driven_by("etcdgw-deliver");
    office.close();
}

#[test]
fn the_delivery_thread_drives_no_watches_without_callbacks() {
    let office = Office::open(false);
    for _ in 0..3 {
        assert_eq!(office.thread_that_drives(), "etcdgw-watch");
    }
    office.all_have_callbacks.store(true, Ordering::SeqCst);
    office.wait_until_driven_by("etcdgw-deliver");
    office.all_have_callbacks.store(false, Ordering::SeqCst);
    office.wait_until_driven_by("etcdgw-watch");
    assert_eq!(office.thread_that_drives(), "etcdgw-watch");
    office.close();
}

#[test]
fn watches_end_while_a_callback_takes_its_time() {
    let office = Office::open(true);
    office.wait_until_driven_by("etcdgw-deliver");
    let returns = slow_callback(&office);
    office.close();
    drop(returns);
}
