//! What a client is made from: its log, its environment, and the ends of both.

use crate::common::{FakeGateway, LONG, wait_until};
use crate::{TestClient, defaults, ok, response, text};
use etcdgw::ffi::*;
use std::ffi::{CString, c_char, c_void};
use std::net::TcpListener;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<(i32, String)>>,
    freed: AtomicUsize,
}

unsafe extern "C" fn note(level: i32, line: *const c_char, user_data: *mut c_void) {
    unsafe { &*user_data.cast::<Log>() }.lines.lock().unwrap().push((level, text(line)));
}

unsafe extern "C" fn count_freed(user_data: *mut c_void) {
    unsafe { &*user_data.cast::<Log>() }.freed.fetch_add(1, Ordering::SeqCst);
}

fn logging_to(log: &Log) -> etcdgw_client_options {
    etcdgw_client_options {
        log: Some(note),
        log_user_data: ptr::from_ref(log).cast_mut().cast(),
        log_user_data_free: Some(count_freed),
        ..defaults()
    }
}

#[test]
fn a_log_gets_its_lines_up_to_its_level_and_is_let_go_with_the_client() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = FakeGateway::answering("{}");
    let endpoints = format!("http://{nobody},{}", gateway.url());
    for (log_level, expected) in [(0, true), (ETCDGW_LOG_WARN, true), (ETCDGW_LOG_ERROR, false)] {
        let log = Log::default();
        let client = TestClient::with(&endpoints, etcdgw_client_options { log_level, ..logging_to(&log) });
        ok(|err| unsafe { etcdgw_get_all(client.0, ptr::null(), ptr::null_mut(), err) });
        let warned = log
            .lines
            .lock()
            .unwrap()
            .iter()
            .any(|(level, line)| *level == ETCDGW_LOG_WARN && line.contains(&nobody.to_string()));
        assert_eq!(warned, expected, "level {log_level}: {:?}", log.lines.lock().unwrap());
        assert_eq!(log.freed.load(Ordering::SeqCst), 0);
        drop(client);
        assert_eq!(log.freed.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn the_data_of_a_log_are_let_go_without_a_callback_too() {
    let log = Log::default();
    let options = etcdgw_client_options { log: None, ..logging_to(&log) };
    let client = TestClient::with("http://127.0.0.1:1", options);
    drop(client);
    assert_eq!(log.freed.load(Ordering::SeqCst), 1);
}

#[test]
fn the_environment_gives_the_api_path_unless_an_option_does() {
    const VARIABLE: &str = "ETCDGW_API_PATH";
    let Some(value) = std::env::var_os(VARIABLE) else {
        // The variable must not reach the tests beside this one: it has processes of its own.
        for value in ["/from/environment", "/v 3/"] {
            let mut again = std::process::Command::new(std::env::current_exe().unwrap());
            let name = "client::the_environment_gives_the_api_path_unless_an_option_does";
            let output = again.args(["--exact", name]).env(VARIABLE, value).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
        }
        return;
    };
    let path_of = |options: etcdgw_client_options| unsafe {
        let client = response(|out, err| etcdgw_client_new(&options, out, err));
        let path = response(|out, err| etcdgw_client_api_path(client, ptr::null(), out, err));
        let read = text(path);
        etcdgw_string_free(path);
        etcdgw_client_free(client);
        read
    };
    if value == "/v 3/" {
        let (mut client, mut err) = (ptr::null_mut(), ptr::null_mut());
        let message = unsafe {
            assert_eq!(etcdgw_client_new(&defaults(), &mut client, &mut err), ETCDGW_INVALID_ARGUMENT);
            let message = text(etcdgw_error_message(err));
            etcdgw_error_free(err);
            message
        };
        assert!(message.contains(VARIABLE), "who has set it is told its name: {message}");
    } else {
        assert_eq!(path_of(defaults()), "/from/environment/");
    }
    assert_eq!(path_of(etcdgw_client_options { api_path: c"v3beta".as_ptr(), ..defaults() }), "/v3beta/");
}

#[test]
fn the_endpoints_are_kept_in_step_with_the_members_where_that_is_asked_for() {
    let gateway = FakeGateway::answering("{}");
    let client = TestClient::with(gateway.url(), etcdgw_client_options { auto_sync_ms: 1, ..defaults() });
    ok(|err| unsafe { etcdgw_get_all(client.0, ptr::null(), ptr::null_mut(), err) });
    wait_until(LONG, || gateway.count("/v3/cluster/member/list") > 1);
}

#[test]
fn a_client_without_options_is_one_of_the_local_port() {
    unsafe {
        let client = response(|out, err| etcdgw_client_new(ptr::null(), out, err));
        let url = response(|out, err| etcdgw_client_base_url(client, ptr::null(), out, err));
        assert_eq!(text(url), "http://127.0.0.1:2379");
        etcdgw_string_free(url);
        let endpoints = CString::new("[::1],unix:///tmp/socket").unwrap();
        ok(|err| etcdgw_client_set_endpoints(client, endpoints.as_ptr(), err));
        let url = response(|out, err| etcdgw_client_base_url(client, ptr::null(), out, err));
        assert_eq!(text(url), "http://[::1]:2379");
        etcdgw_string_free(url);
        etcdgw_client_free(client);
    }
}

/// A gateway that gives everybody the same token.
fn token_gateway() -> FakeGateway {
    FakeGateway::start(|request, reply| match request.path.as_str() {
        "/v3/auth/authenticate" => reply.json(r#"{"token":"issued.1"}"#),
        _ => reply.json("{}"),
    })
}

#[test]
fn credentials_reach_the_server_and_may_be_replaced() {
    let gateway = token_gateway();
    let token_of_get = |client: &TestClient| {
        ok(|err| unsafe { etcdgw_get_all(client.0, ptr::null(), ptr::null_mut(), err) });
        gateway.last().header("authorization").map(str::to_owned)
    };
    let logins = || {
        let requests = gateway.requests().into_iter().filter(|request| request.path == "/v3/auth/authenticate");
        requests.map(|request| request.json()).collect::<Vec<_>>()
    };
    let set = |client: &TestClient, user, password| {
        ok(|err| unsafe { etcdgw_client_set_credentials(client.0, user, password, err) });
    };
    let (user, password, token) = (c"user".as_ptr(), c"pass \"word\"".as_ptr(), c"elsewhere.2".as_ptr());

    let client = TestClient::with(gateway.url(), etcdgw_client_options { user, password, ..defaults() });
    assert_eq!(token_of_get(&client).as_deref(), Some("issued.1"));
    assert_eq!(logins(), [serde_json::json!({ "name": "user", "password": "pass \"word\"" })]);
    set(&client, c"other".as_ptr(), c"".as_ptr());
    assert_eq!(token_of_get(&client).as_deref(), Some("issued.1"));
    assert_eq!(logins()[1], serde_json::json!({ "name": "other", "password": "" }));
    set(&client, ptr::null(), ptr::null());
    assert_eq!(token_of_get(&client), None);

    let client = TestClient::with(gateway.url(), etcdgw_client_options { token, ..defaults() });
    assert_eq!(token_of_get(&client).as_deref(), Some("elsewhere.2"));
    set(&client, user, password);
    assert_eq!(token_of_get(&client).as_deref(), Some("issued.1"));
    assert_eq!(logins().len(), 3);
}
