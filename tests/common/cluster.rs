//! A cluster of several members on this machine.

use super::etcd::{Etcd, EtcdOptions, free_port};
use super::{End, Face, Fault, LONG, Proxy, administrator, client, plain, wait_until};
use etcdgw::client::{CallOptions, Client};
use etcdgw::error::Error;
use etcdgw::rpc::Response;
use etcdgw::rpc::cluster::MemberAddResponse;

/// Members of one cluster, of one version.
pub struct Cluster {
    pub members: Vec<Etcd>,
    /// Name and peer URL of each.
    peers: Vec<(String, String)>,
    /// What lies before the peer URL of each, in a cluster that can be torn apart.
    ways: Vec<Proxy>,
}

impl Cluster {
    /// Starts a cluster and waits until every member of it is healthy.
    pub fn start(version: &str, size: usize) -> Cluster {
        let peers: Vec<(String, String)> = (0..size).map(peer).collect();
        let members: Vec<Etcd> = (0..size).map(|place| launch(version, &peers, place, "new")).collect();
        members.iter().for_each(Etcd::wait_until_healthy);
        Face::of_this_run().admit_users(&members[0].url());
        Cluster { members, peers, ways: Vec::new() }
    }

    /// The same with members that reach each other over ways that can be cut.
    pub fn start_separable(version: &str, size: usize) -> Cluster {
        let listening: Vec<(String, String)> = (0..size).map(peer).collect();
        let ways: Vec<Proxy> = listening.iter().map(|(_, url)| Proxy::start(url)).collect();
        let peers: Vec<_> = listening.iter().zip(&ways).map(|((name, _), way)| (name.clone(), way.url())).collect();
        let launch = |place: usize| launch_at(&listening[place].1, version, &peers, place, "new");
        let members: Vec<Etcd> = (0..size).map(launch).collect();
        members.iter().for_each(Etcd::wait_until_healthy);
        Face::of_this_run().admit_users(&members[0].url());
        Cluster { members, peers, ways }
    }

    /// Cuts a member off from the others; clients still reach all of them.
    pub fn separate(&self, place: usize) {
        let id = client(&self.members[place].url()).status(None, &plain()).unwrap().header.member_id;
        for (other, way) in self.ways.iter().enumerate() {
            way.inject(if other == place { Fault::Hole } else { Fault::HoleFor(id) });
        }
        self.ways.iter().for_each(|way| way.cut(End::Close));
    }

    /// Lets all members reach each other again.
    pub fn unite(&self) {
        self.ways.iter().for_each(Proxy::heal);
        self.ways.iter().for_each(|way| way.cut(End::Close));
    }

    /// Adds a member that only learns, and waits until it answers. Its ID.
    pub fn add_learner(&mut self) -> u64 {
        let id = self.add(Client::member_add_learner);
        let (client, learner) = (client(&self.endpoints()), self.members[self.members.len() - 1].url());
        wait_until(LONG, || client.status(Some(&learner), &plain()).is_ok_and(|status| status.is_learner));
        id
    }

    /// Adds a member that votes, and waits until it is healthy. Its ID.
    pub fn add_voter(&mut self) -> u64 {
        let id = self.add(Client::member_add);
        self.members[self.members.len() - 1].wait_until_healthy();
        id
    }

    fn add(
        &mut self,
        add: impl Fn(&Client, &[&str], &CallOptions) -> Result<Response<MemberAddResponse>, Error>,
    ) -> u64 {
        let place = self.peers.len();
        self.peers.push(peer(place));
        let asked = administrator(&self.endpoints());
        let mut added = None;
        // Right after its start a cluster still counts its members as not connected.
        wait_until(LONG, || {
            added = add(&asked, &[&self.peers[place].1], &plain()).ok();
            added.is_some()
        });
        self.members.push(launch(self.members[0].version(), &self.peers, place, "existing"));
        added.unwrap().member.id
    }

    /// The IDs of the members, in their order.
    pub fn ids(&self) -> Vec<u64> {
        let id = |member: &Etcd| client(&member.url()).status(None, &plain()).unwrap().header.member_id;
        self.members.iter().map(id).collect()
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
    launch_at(&peers[place].1, version, peers, place, state)
}

/// Starts a member that listens for its peers at another URL than they are told.
fn launch_at(listening: &str, version: &str, peers: &[(String, String)], place: usize, state: &str) -> Etcd {
    let initial: Vec<String> = peers.iter().map(|(name, url)| format!("{name}={url}")).collect();
    let (name, url) = &peers[place];
    let flags = vec![
        format!("--name={name}"),
        format!("--listen-peer-urls={listening}"),
        format!("--initial-advertise-peer-urls={url}"),
        format!("--initial-cluster={}", initial.join(",")),
        format!("--initial-cluster-state={state}"),
    ];
    Etcd::launch(version, EtcdOptions { flags, ..EtcdOptions::default() }, free_port())
}
