//! A cluster of several members on this machine.

use super::etcd::{Etcd, EtcdOptions, free_port};

/// Members of one cluster, of one version.
pub struct Cluster {
    pub members: Vec<Etcd>,
}

impl Cluster {
    /// Starts a cluster and waits until every member of it is healthy.
    pub fn start(version: &str, size: usize) -> Cluster {
        let peers: Vec<(String, String)> =
            (0..size).map(|i| (format!("m{i}"), format!("http://127.0.0.1:{}", free_port()))).collect();
        let initial: Vec<String> = peers.iter().map(|(name, url)| format!("{name}={url}")).collect();
        let initial = initial.join(",");
        let launch = |(name, url): &(String, String)| {
            let flags = vec![
                format!("--name={name}"),
                format!("--listen-peer-urls={url}"),
                format!("--initial-advertise-peer-urls={url}"),
                format!("--initial-cluster={initial}"),
            ];
            Etcd::launch(version, EtcdOptions { flags, ..EtcdOptions::default() }, free_port())
        };
        let members: Vec<Etcd> = peers.iter().map(launch).collect();
        members.iter().for_each(Etcd::wait_until_healthy);
        Cluster { members }
    }

    /// The URLs of all members, as a client takes them.
    pub fn endpoints(&self) -> String {
        self.members.iter().map(Etcd::url).collect::<Vec<_>>().join(",")
    }
}
