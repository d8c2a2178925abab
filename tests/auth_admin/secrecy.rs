//! Passwords of other users are as secret as the client's own.

use crate::common::{FakeGateway, config, within};
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::error::Error;
use etcdgw::log::{Level, LogSink};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PASSWORD: &str = "pass-W0RD";

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl LogSink for Lines {
    fn wants(&self, _: Level) -> bool {
        true
    }

    fn log(&self, _: Level, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

#[test]
fn a_server_that_sends_a_new_password_back_does_not_bring_it_to_light() {
    for status in ["200 OK", "400 Bad Request", "404 Not Found", "502 Bad Gateway", "503 Service Unavailable"] {
        for code in [None, Some(2), Some(3), Some(14)] {
            let gateway = FakeGateway::start(move |request, reply| {
                let body = String::from_utf8_lossy(&request.body).into_owned();
                let json = |code| serde_json::json!({ "code": code, "message": body }).to_string();
                reply.status(status, code.map_or(body.clone(), json));
            });
            let lines = Lines::default();
            let log: Option<Arc<dyn LogSink>> = Some(Arc::new(lines.clone()));
            let client = Client::new(Config { log, ..config(gateway.url()) }).unwrap();
            let brief = within(Duration::from_millis(200));
            let errors: Vec<Error> = [
                client.user_add("user", Some(&PASSWORD.into()), &brief).err(),
                client.user_change_password("user", &PASSWORD.into(), &brief).err(),
            ]
            .into_iter()
            .flatten()
            .collect();
            let mut said = lines.0.lock().unwrap().clone();
            said.extend(errors.iter().flat_map(|error| [error.full_message(), format!("{error:?}")]));
            assert!(said.iter().all(|text| !text.contains("W0RD")), "{status} {code:?}: {said:#?}");
            assert!(status == "200 OK" || errors.len() == 2, "{status} {code:?}: {errors:?}");
        }
    }
}

#[test]
fn what_a_server_means_is_told_although_the_password_is_a_word_of_it() {
    let answer = r#"{"code":9,"message":"etcdserver: user name already exists"}"#;
    let gateway = FakeGateway::start(move |_, reply| reply.status("400 Bad Request", answer));
    let client = Client::new(config(gateway.url())).unwrap();
    for password in ["a", "user", "etcdserver: user name already exists"] {
        let error = client.user_add("user", Some(&password.into()), &within(Duration::from_secs(5))).unwrap_err();
        assert!(error.to_string().contains("user name already exists"), "{error}");
    }
}
