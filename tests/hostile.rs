//! Servers that are broken or mean harm: an error in bounded time and memory, and a client that can be used afterwards.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{FakeGateway, LONG, Reply, get, plain, put, timed, with_length, within};
use etcdgw::client::Client;
use etcdgw::concurrency::barrier::Barrier;
use etcdgw::error::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A gateway that does something to the first request and behaves with the others; and a client of it.
fn once(script: impl Fn(&mut Reply<'_>) + Send + Sync + 'static) -> (FakeGateway, Client) {
    let gateway = FakeGateway::start(move |request, reply| match request.connection {
        0 => script(reply),
        _ => reply.json(r#"{"kvs":[{"key":"aw==","value":"dg=="}],"count":"1"}"#),
    });
    let client = common::client(gateway.url());
    (gateway, client)
}

/// What a get makes of these bytes, after which the connection ends; then the client must still work.
#[track_caller]
fn get_of(bytes: impl Into<Vec<u8>>) -> Result<Option<Vec<u8>>> {
    let bytes = bytes.into();
    let (_gateway, client) = once(move |reply| {
        reply.raw(&bytes);
        reply.close();
    });
    let (answer, took) = timed(|| get(&client, b"k"));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(get(&client, b"k").unwrap().unwrap(), b"v");
    answer
}

/// A complete answer with this body.
#[track_caller]
fn assert_protocol_error(bytes: impl Into<Vec<u8>>, wanted: &str) {
    let error = get_of(bytes).unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    assert!(error.to_string().contains(wanted), "{error}");
}

#[test]
fn an_answer_that_breaks_off_is_a_lost_connection() {
    for bytes in [
        "",
        "HTTP/1.1 20",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"count\"",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nTrailer: x\r\n",
    ] {
        let error = get_of(bytes).unwrap_err();
        assert!(matches!(error, Error::Lost { .. }), "{bytes:?}: {error:?}");
    }
}

#[test]
fn what_is_not_http_is_quoted() {
    for bytes in
        ["SSH-2.0-OpenSSH_9.2\r\n", "\x15\x03\x01\0\x02\x02\x16\r\n", "HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 abc\r\n\r\n"]
    {
        let beginning: String = bytes.chars().take(3).collect();
        assert_protocol_error(bytes, &beginning.escape_debug().to_string());
    }
    assert_protocol_error("HTTP/1.1 200 OK\r\nno colon here\r\n\r\n", "not HTTP/1.1");
}

#[test]
fn a_page_in_place_of_json_is_quoted() {
    assert_protocol_error(with_length("<html><body>Log in to the network</body></html>"), "<html><body>Log in");
    assert_protocol_error("HTTP/1.1 200 OK\r\n\r\n<html>until the end", "<html>until");
    assert_protocol_error("HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n", "302");
    assert_protocol_error("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nnginx", "nginx");
}

#[test]
fn an_empty_answer_is_none() {
    assert_protocol_error(with_length(""), "empty");
    assert_protocol_error("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "empty");
    assert_protocol_error("HTTP/1.1 204 No Content\r\n\r\n", "204");
}

#[test]
fn a_length_that_is_none_is_refused() {
    for length in ["-5", "+5", "5 5", "0x10", "five", "", "99999999999999999999999", "5, 5"] {
        assert_protocol_error(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{{}}"), "length");
    }
    assert_protocol_error("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "two lengths");
}

#[test]
fn a_chunk_size_that_is_none_is_refused() {
    for chunks in [
        "x\r\n{}\r\n",
        "-2\r\n{}\r\n",
        "\r\n{}\r\n",
        "2x\r\n{}\r\n",
        "ffffffffffffffff\r\n{}",
        "10000000000000000\r\n{}",
    ] {
        assert_protocol_error(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"), "chunk");
    }
    assert_protocol_error(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}and more\r\n",
        "longer than it says",
    );
    let chunk = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;{}", "x".repeat(5000));
    assert_protocol_error(chunk, "no end");
}

#[test]
fn an_encoding_that_nobody_asked_for_is_refused() {
    assert_protocol_error("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxx", "transfer encoding");
}

#[test]
fn json_of_the_wrong_shape_is_refused() {
    for body in [
        "null",
        "true",
        "[]",
        "\"text\"",
        "{",
        "{}}",
        "{} {}",
        "{\"header\":[]}",
        "{\"header\":{\"revision\":true}}",
        "{\"header\":{\"cluster_id\":\"-1\"}}",
        "{\"kvs\":{}}",
        "{\"kvs\":[1]}",
        "{\"kvs\":[null]}",
        "{\"kvs\":[{\"key\":5}]}",
        "{\"kvs\":[{\"key\":\"no base64\"}]}",
        "{\"kvs\":[{\"key\":\"aw\"}]}",
        "{\"kvs\":[{\"version\":\"1.5\"}]}",
        "{\"kvs\":[{\"lease\":1e3}]}",
        "{\"kvs\":[{\"key\":\"aw==\"",
        "{\"more\":\"true\"}",
        "{\"count\":\"abc\"}",
        "{\"count\":\"\"}",
        "{\"count\":\"9223372036854775808\"}",
        "{\"count\":99999999999999999999999}",
        "{\"count\":1,}",
        "{\"unknown\":tru}",
        "{'count':1}",
    ] {
        assert_protocol_error(with_length(body), "malformed");
    }
}

#[test]
fn json_that_is_nested_without_end_is_refused() {
    for (open, close) in [("[", "]"), ("{\"x\":", "}"), ("{\"kvs\":[{\"y\":", "}]}")] {
        let depth = 100_000;
        let body = format!("{{\"x\":{}1{}}}", open.repeat(depth), close.repeat(depth));
        assert_protocol_error(with_length(&body), "nesting");
    }
    let transactions = "{\"responses\":[{\"response_txn\":".repeat(50_000);
    let (_gateway, client) = once(move |reply| reply.json(&transactions));
    let error = client.txn(&etcdgw::rpc::txn::TxnRequest::default(), &plain()).unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    let (_gateway, client) = once(|reply| reply.json(b"{\"version\":\"\xff\xfe\"}"));
    let error = client.status(None, &plain()).unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
}

/// Runs a call against a server that sends without end, and tells how much it could send.
fn endless(beginning: &'static str, piece: Vec<u8>, call: impl FnOnce(&Client) -> Error) -> (Error, u64) {
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let (_gateway, client) = once(move |reply| {
        reply.raw(beginning);
        while reply.is_open() {
            counter.fetch_add(piece.len() as u64, Ordering::SeqCst);
            reply.raw(&piece);
        }
    });
    let (error, took) = timed(|| call(&client));
    assert!(took < Duration::from_secs(5), "{took:?}");
    get(&client, b"k").unwrap();
    (error, sent.load(Ordering::SeqCst))
}

/// More than what both kernels buffer, less than what was threatened.
const BUFFERED: u64 = 24 << 20;

#[test]
fn a_head_without_end_is_refused_after_a_little_of_it() {
    let line = b"X-Filler: filler filler filler\r\n".repeat(1000);
    for (beginning, piece) in [
        ("HTTP/1.1 200 OK\r\n", line),
        ("HTTP/1.1 200 OK\r\nX-Filler: ", vec![b'x'; 1 << 16]),
        ("", vec![b'x'; 1 << 16]),
        ("HTTP/1.1 200 ", vec![b'x'; 1 << 16]),
        ("", b"\r\n".repeat(1 << 15)),
    ] {
        let (error, sent) = endless(beginning, piece, |client| get(client, b"k").unwrap_err());
        assert!(matches!(error, Error::Protocol { .. }), "{beginning:?}: {error:?}");
        assert!(sent < BUFFERED, "{beginning:?}: {sent}");
    }
}

#[test]
fn a_trailer_without_end_is_refused_after_a_little_of_it() {
    let beginning = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n";
    for piece in [b"X-Filler: filler\r\n".repeat(1000), vec![b'x'; 1 << 16]] {
        let (error, sent) = endless(beginning, piece, |client| get(client, b"k").unwrap_err());
        assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
        assert!(sent < BUFFERED, "{sent}");
    }
}

#[test]
fn a_large_body_where_none_is_expected_is_refused() {
    let put = |client: &Client| put(client, b"k", b"v").unwrap_err();
    for (beginning, piece) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n", vec![b' '; 1 << 16]),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6400000\r\n", vec![b' '; 1 << 16]),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            [&b"10000\r\n"[..], &[b' '; 1 << 16], b"\r\n"].concat(),
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", vec![b' '; 1 << 16]),
        ("HTTP/1.1 500 Internal Server Error\r\n\r\n", vec![b' '; 1 << 16]),
    ] {
        let (error, sent) = endless(beginning, piece, put);
        let is_as_wanted = match beginning.contains(" 200 ") {
            true => matches!(error, Error::TooLarge { .. }),
            false => matches!(error, Error::Protocol { http_status: 500, .. }),
        };
        assert!(is_as_wanted, "{beginning:?}: {error:?}");
        assert!(error.to_string().contains("larger than 1048576 bytes"), "{error}");
        assert!(sent < BUFFERED, "{beginning:?}: {sent}");
    }
}

#[test]
fn an_error_answer_to_a_range_is_bounded_like_any_other() {
    let beginning = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 104857600\r\n\r\n";
    let (error, sent) = endless(beginning, vec![b' '; 1 << 16], |client| get(client, b"k").unwrap_err());
    assert!(matches!(error, Error::Protocol { http_status: 500, .. }) && sent < BUFFERED, "{error:?} {sent}");
}

#[test]
fn a_range_larger_than_configured_is_refused() {
    let body = format!(r#"{{"header":{{"revision":"1"}},"kvs":[{{"key":"{}"}}]}}"#, "YWFh".repeat(10_000));
    let gateway = FakeGateway::answering(body.clone());
    let settings = etcdgw::config::Config { max_response_bytes: body.len(), ..common::config(gateway.url()) };
    get(&Client::new(settings.clone()).unwrap(), b"k").unwrap();
    let settings = etcdgw::config::Config { max_response_bytes: body.len() - 1, ..settings };
    let error = get(&Client::new(settings).unwrap(), b"k").unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("larger than {} bytes", body.len() - 1)), "{error}");
}

#[test]
fn an_announced_gigabyte_takes_no_memory_before_it_arrives() {
    let (_gateway, client) = once(|reply| {
        reply.raw("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n{");
        reply.close();
    });
    let peak = || -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmPeak")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before = peak();
    let error = get(&client, b"k").unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    // Other tests run beside this one, but none of them takes so much.
    assert!(peak() - before < 700 << 10, "{} KiB", peak() - before);
}

#[test]
fn interim_answers_are_passed_over() {
    let answer = with_length(r#"{"header":{"revision":"1"},"count":"1"}"#);
    for interim in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n",
    ] {
        get_of(format!("{interim}{answer}")).unwrap();
    }
}

#[test]
fn unusual_but_right_framing_is_read() {
    let body = r#"{"header":{"revision":"1"},"kvs":[{"key":"aw==","value":"dg=="}],"count":"1"}"#;
    let length = body.len();
    let halves = body.split_at(20);
    for answer in [
        format!("HTTP/1.1 200 OK\r\n\r\n{body}"),
        format!("HTTP/1.0 200 OK\r\n\r\n{body}"),
        format!("HTTP/1.1 200\r\ncontent-length: {length}\r\n\r\n{body}"),
        format!("HTTP/1.1 200 OK\nContent-Length:{length}\n\n{body}"),
        format!("HTTP/1.1 200 OK\r\nCONTENT-LENGTH: \t{length} \r\n\r\n{body}"),
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nContent-Length: {length}\r\n\r\n{body}"),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n{length:X}\r\n{body}\r\n0\r\n\r\n"),
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n000{length:x};a=b\r\n{body}\r\n000\r\nT: x\r\nU: y\r\n\r\n"
        ),
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
        ),
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
            halves.0,
            halves.1.len(),
            halves.1
        ),
    ] {
        assert_eq!(get_of(answer.clone()).unwrap().unwrap(), b"v", "{answer}");
    }
}

#[test]
fn an_answer_may_arrive_in_pieces_of_any_size() {
    let body = r#"{"header":{"revision":"1"},"kvs":[{"key":"aw==","value":"dg=="}],"count":"1"}"#;
    let chunks: String = body.chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    let whole = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\nT: x\r\n\r\n");
    let (_gateway, client) = once(move |reply| reply.bit_by_bit(whole.clone(), Duration::from_micros(100)));
    assert_eq!(get(&client, b"k").unwrap().unwrap(), b"v");
}

#[test]
fn unknown_fields_nulls_duplicates_and_any_spacing_are_read() {
    for (body, value) in [
        (
            r#"{"header":{"revision":1},"new":{"deep":[1,{"er":null}],"s":"\"\\\u00e9"},"kvs":[{"key":"aw==","value":"dg==","new":1.5e3}]}"#,
            "v",
        ),
        (
            r#"{"header":{"revision":null,"raft_term":"1"},"kvs":[{"key":null,"value":"dg==","lease":null}],"count":null,"more":null}"#,
            "v",
        ),
        (r#"{"header":{"revision":"1"},"kvs":[{"value":"eA=="}],"kvs":[{"value":"eQ==","value":"dg=="}]}"#, "v"),
        ("\t{\r\n \"header\" : { \"revision\" : \"1\" } ,\"kvs\" :\n[ {\"value\" : \"dg==\" } ] }\n", "v"),
        (r#"{"head\u0065r":{"revision":"1"},"\u006bvs":[{"val\u0075e":"d\u0067=\u003d"}]}"#, "v"),
        (r#"{"header":{"revision":"1"},"kvs":[{}]}"#, ""),
        (r#"{"header":{"revision":"1"},"kvs":[{"version":5,"mod_revision":"7"}],"count":1}"#, ""),
    ] {
        assert_eq!(get_of(with_length(body)).unwrap().unwrap(), value.as_bytes(), "{body}");
    }
    for rest in ["}", r#","kvs":null}"#, r#","kvs":[]}"#] {
        let body = format!(r#"{{"header":{{"revision":"1"}}{rest}"#);
        assert_eq!(get_of(with_length(&body)).unwrap(), None, "{body}");
    }
}

#[test]
fn what_has_no_header_is_no_answer_of_etcd() {
    for body in ["{}", r#"{"status":"ok"}"#, r#"{"header":null,"kvs":[]}"#, r#"{"header":{},"count":"1"}"#] {
        assert_protocol_error(with_length(body), "its answer has no header, as etcd's have");
        let (_gateway, client) = once(move |reply| reply.status("200 OK", body));
        let error = put(&client, b"k", b"v").unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }) && error.may_have_applied(), "{error:?}");
        assert!(error.to_string().contains(&format!("{body:?}")), "{error}");
    }
}

#[test]
fn a_keep_alive_without_a_line_is_a_failure_and_not_an_expired_lease() {
    for body in ["", "\n", "{}\n", "{\"result\":null}\n", "{\"result\":[]}\n", "x\n"] {
        let (_gateway, client) = once(move |reply| {
            reply.stream_head();
            if !body.is_empty() {
                reply.chunk(body);
            }
            reply.end();
            reply.close();
        });
        let error = client.lease_refresh(1, &plain()).unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{body:?}: {error:?}");
    }
}

#[test]
fn who_waits_for_what_comes_after_the_last_revision_that_there_can_be_waits_in_vain() {
    let gateway = FakeGateway::start(|request, reply| match &*request.path {
        "/v3/kv/range" => reply
            .json(r#"{"header":{"revision":"9223372036854775807"},"kvs":[{"key":"aw==","value":"dg=="}],"count":"1"}"#),
        _ => reply.hold(),
    });
    let client = common::client(gateway.url());
    let waited = Barrier::new(&client, b"barrier").wait(Some(Duration::from_millis(200)), &plain());
    assert!(matches!(waited, Ok(false)), "{waited:?}");
}

#[test]
fn an_error_answer_of_the_wrong_shape_is_quoted_with_its_status() {
    for body in
        ["{}", "{\"message\":\"x\"}", "{\"code\":\"five\"}", "{\"error\":5}", "[]", "", "{\"code\":5,\"message\":{}}"]
    {
        let answer = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let error = get_of(answer).unwrap_err();
        assert!(matches!(error, Error::Protocol { http_status: 400, .. }), "{body}: {error:?}");
        assert!(error.to_string().contains(&body.escape_debug().to_string()), "{body}: {error}");
    }
}

#[test]
fn a_redirection_is_not_followed() {
    let other = FakeGateway::answering("{}");
    let answer = format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", other.url());
    get_of(answer).unwrap_err();
    assert_eq!(other.connections(), 0);
}

#[test]
fn a_write_with_an_unreadable_answer_may_have_been_executed() {
    for answer in [with_length("<html>"), with_length("{\"header\":5}"), "garbage\r\n\r\n".to_owned()] {
        let (_gateway, client) = once(move |reply| reply.raw(&answer));
        let error = common::put_with(&client, b"k", b"v", &within(LONG)).unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }) && error.may_have_applied(), "{error:?}");
    }
}
