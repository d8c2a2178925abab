//! A cluster of several members on this machine.

use super::etcd::{Etcd, EtcdOptions, free_port};
use super::{LONG, client, plain, wait_until};
use serde_json::json;

/// Members of one cluster, of one version.
pub struct Cluster {
    pub members: Vec<Etcd>,
    /// Name and peer URL of each.
    peers: Vec<(String, String)>,
}

impl Cluster {
    /// Starts a cluster and waits until every member of it is healthy.
    pub fn start(version: &str, size: usize) -> Cluster {
        let peers: Vec<(String, String)> = (0..size).map(peer).collect();
        let members: Vec<Etcd> = (0..size).map(|place| launch(version, &peers, place, "new")).collect();
        members.iter().for_each(Etcd::wait_until_healthy);
        Cluster { members, peers }
    }

    /// Adds a member that only learns, and waits until it answers.
    pub fn add_learner(&mut self) {
        let place = self.members.len();
        self.peers.push(peer(place));
        let request = json!({"peerURLs": [self.peers[place].1], "isLearner": true}).to_string();
        let asked = client(&self.endpoints());
        // Right after its start a cluster still counts its members as not connected.
        wait_until(LONG, || asked.post("/cluster/member/add", request.as_bytes(), &plain()).is_ok());
        self.members.push(launch(self.members[0].version(), &self.peers, place, "existing"));
        let learner = client(&self.members[place].url());
        wait_until(LONG, || learner.status(None, &plain()).is_ok_and(|status| status.is_learner));
    }

    /// The URLs of all members, as a client takes them.
    pub fn endpoints(&self) -> String {
        self.members.iter().map(Etcd::url).collect::<Vec<_>>().join(",")
    }

    /// The URLs of all members, beginning with this one.
    pub fn endpoints_from(&self, first: usize) -> String {
        let ring = self.members.iter().cycle().skip(first).take(self.members.len());
        ring.map(Etcd::url).collect::<Vec<_>>().join(",")
    }

    /// The place of the leader.
    pub fn leader(&self) -> usize {
        let mut found = None;
        wait_until(LONG, || {
            found = self.members.iter().position(|member| {
                let status = client(&member.url()).status(None, &plain());
                status.is_ok_and(|status| status.leader != 0 && status.leader == status.header.member_id)
            });
            found.is_some()
        });
        found.unwrap()
    }

    /// The place of a member that is not the leader.
    pub fn follower(&self) -> usize {
        (self.leader() + 1) % self.members.len()
    }
}

fn peer(place: usize) -> (String, String) {
    (format!("m{place}"), format!("http://127.0.0.1:{}", free_port()))
}

fn launch(version: &str, peers: &[(String, String)], place: usize, state: &str) -> Etcd {
    let initial: Vec<String> = peers.iter().map(|(name, url)| format!("{name}={url}")).collect();
    let (name, url) = &peers[place];
    let flags = vec![
        format!("--name={name}"),
        format!("--listen-peer-urls={url}"),
        format!("--initial-advertise-peer-urls={url}"),
        format!("--initial-cluster={}", initial.join(",")),
        format!("--initial-cluster-state={state}"),
    ];
    Etcd::launch(version, EtcdOptions { flags, ..EtcdOptions::default() }, free_port())
}
