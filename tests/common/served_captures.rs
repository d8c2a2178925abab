//! The recorded answers of real gateways, served by name.

use super::{FakeGateway, capture, config};
use etcdgw::client::Client;
use etcdgw::config::Config;

/// A gateway that gives recorded answers.
pub struct ServedCaptures {
    pub gateway: FakeGateway,
}

impl ServedCaptures {
    pub fn start() -> ServedCaptures {
        let gateway = FakeGateway::start(|request, reply| {
            let name = request.path.split('/').nth(1).unwrap();
            reply.raw(capture(name));
        });
        ServedCaptures { gateway }
    }

    /// A client whose every call is answered by one recording: its name stands in for the API path.
    #[track_caller]
    pub fn client(&self, name: &str) -> Client {
        Client::new(Config { api_path: Some(name.to_owned()), ..config(self.gateway.url()) }).unwrap()
    }
}
