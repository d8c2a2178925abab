//! A session and what stands on it, of a client that reaches nothing any more.

use crate::probe::{client_of, listener};
use etcdgw::ffi::*;
use std::ffi::c_void;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::ptr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// The lease that the session adopts. Its time is so long that nobody renews it here.
const LEASE: i64 = 7;
const ANSWER: &str = r#"{"result":{"header":{"revision":"1"},"ID":"7","TTL":"1000000"}}"#;

pub struct Coordinated {
    pub session: *mut etcdgw_session,
    pub mutex: *mut etcdgw_mutex,
    pub rwlock: *mut etcdgw_rwlock,
    pub election: *mut etcdgw_election,
    pub observer: *mut etcdgw_election_observer,
    pub lock: *mut etcdgw_lock,
    pub barrier: *mut etcdgw_barrier,
    pub double_barrier: *mut etcdgw_double_barrier,
    pub workqueue: *mut etcdgw_workqueue,
    pub stm: Lent,
}

impl Coordinated {
    pub fn new() -> Coordinated {
        let server = listener();
        let client = client_of(&server);
        server.set_nonblocking(false).unwrap();
        let (mut session, mut mutex, mut election) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        let (mut observer, mut lock, mut rwlock) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        let (mut barrier, mut double_barrier, mut workqueue) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        let (name, none) = (crate::faults::bytes(b"name"), ptr::null_mut());
        unsafe {
            let options = etcdgw_session_options { lease: LEASE, ..crate::faults::zero::<etcdgw_session_options>(48) };
            std::thread::scope(|scope| {
                scope.spawn(|| answer_once(&server));
                let status = etcdgw_session_new(client, &options, None, none, None, &mut session, ptr::null_mut());
                assert_eq!(status, ETCDGW_OK);
            });
            assert_eq!(etcdgw_mutex_new(session, name, &mut mutex, ptr::null_mut()), ETCDGW_OK);
            assert_eq!(etcdgw_rwlock_new(session, name, &mut rwlock, ptr::null_mut()), ETCDGW_OK);
            assert_eq!(etcdgw_election_new(session, name, &mut election, ptr::null_mut()), ETCDGW_OK);
            let status =
                etcdgw_election_observe(election, ptr::null(), None, none, None, &mut observer, ptr::null_mut());
            assert_eq!(status, ETCDGW_OK);
            assert_eq!(etcdgw_lock_new(client, name, ptr::null(), &mut lock, ptr::null_mut()), ETCDGW_OK);
            assert_eq!(etcdgw_barrier_new(client, name, &mut barrier, ptr::null_mut()), ETCDGW_OK);
            let status = etcdgw_double_barrier_new(session, name, 1, &mut double_barrier, ptr::null_mut());
            assert_eq!(status, ETCDGW_OK);
            assert_eq!(etcdgw_workqueue_new(session, name, &mut workqueue, ptr::null_mut()), ETCDGW_OK);
            let stm = Lent::new(client);
            etcdgw_client_free(client);
            // From here on every connection is refused.
            Coordinated { session, mutex, rwlock, election, observer, lock, barrier, double_barrier, workqueue, stm }
        }
    }
}

/// The handle of an optimistic transaction whose function doesn't return before this value is dropped.
pub struct Lent {
    pub handle: *mut etcdgw_stm_handle,
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<etcdgw_status>>,
}

struct Loan {
    lend: Sender<usize>,
    end: Receiver<()>,
}

unsafe extern "C" fn lend(stm: *mut etcdgw_stm_handle, loan: *mut c_void) -> etcdgw_status {
    let loan = unsafe { &*loan.cast::<Loan>() };
    loan.lend.send(stm as usize).unwrap();
    let _ = loan.end.recv();
    ETCDGW_UNKNOWN
}

impl Lent {
    fn new(client: *mut etcdgw_client) -> Lent {
        let ((lender, lent), (end, ended)) = (channel(), channel());
        let (loan, client) = (Loan { lend: lender, end: ended }, client as usize);
        let thread = std::thread::spawn(move || {
            let (client, loan) = (client as *mut etcdgw_client, ptr::from_ref(&loan).cast_mut().cast());
            let none = ptr::null_mut();
            unsafe { etcdgw_stm(client, ptr::null(), Some(lend), loan, none, ptr::null_mut()) }
        });
        Lent { handle: lent.recv().unwrap() as *mut etcdgw_stm_handle, end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.end = None;
        // Its reads failed, where there were any, for want of a server; that of another test may have the port by then.
        let status = self.thread.take().unwrap().join().unwrap();
        assert!([ETCDGW_UNKNOWN, ETCDGW_CONNECTION_FAILED, ETCDGW_CONNECTION_LOST].contains(&status), "{status}");
    }
}

/// Answers one request, whatever it asks, and closes the connection.
fn answer_once(server: &TcpListener) {
    let (mut connection, _) = server.accept().unwrap();
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\"}") {
        assert_eq!(connection.read(&mut byte).unwrap(), 1);
        request.push(byte[0]);
    }
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", ANSWER.len());
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(ANSWER.as_bytes()).unwrap();
}

impl Drop for Coordinated {
    fn drop(&mut self) {
        unsafe {
            etcdgw_workqueue_free(self.workqueue);
            etcdgw_double_barrier_free(self.double_barrier);
            etcdgw_barrier_free(self.barrier);
            etcdgw_lock_free(self.lock);
            etcdgw_election_observer_free(self.observer);
            etcdgw_election_free(self.election);
            etcdgw_rwlock_free(self.rwlock);
            etcdgw_mutex_free(self.mutex);
            etcdgw_session_free(self.session);
        }
    }
}
