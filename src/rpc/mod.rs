//! What etcd offers: request and response types, one file per service of etcd, as methods on
//! [`Client`](crate::client::Client).
//!
//! Requests borrow what they can; responses own one buffer, into which their keys and values point.

pub mod alarm;
pub mod auth;
pub mod cluster;
pub mod downgrade;
mod keys;
pub mod kv;
pub mod lease;
pub mod maintenance;
mod namespace;
pub mod raw;
pub mod role;
pub mod scan;
pub mod snapshot;
pub mod txn;
pub mod user;
pub mod watch;

pub(crate) use crate::gateway::{Headed, HeaderOnly, NoFields, headed};
pub use crate::gateway::{Header, Response};
pub use keys::{Keys, prefix_range_end};
pub use namespace::Namespace;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::alarm::AlarmResponse;
    use super::lease::{LeaseLeasesResponse, LeaseTimeToLiveResponse};
    use super::maintenance::StatusResponse;
    use super::role::RoleGetResponse;
    use super::txn::{TxnResponse, TxnResult};
    use super::watch::WatchMessage;
    use crate::gateway::json::{Decode, Reader};

    fn read<T: Decode>(text: &str) -> T {
        T::decode(&mut Reader::new(&mut text.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn of_a_list_or_a_message_that_is_given_twice_the_last_counts() {
        let leases: LeaseLeasesResponse = read(r#"{"leases":[{"ID":"1"}],"leases":[{"ID":"2","ID":"3"},{"ID":"4"}]}"#);
        assert_eq!(leases.ids, [3, 4]);
        let lease: LeaseTimeToLiveResponse = read(r#"{"keys":["YQ=="],"keys":["Yg==","Yw=="]}"#);
        assert_eq!(lease.keys.len(), 2);
        let alarms: AlarmResponse = read(r#"{"alarms":[{"memberID":"1"}],"alarms":[{"memberID":"2"}]}"#);
        assert_eq!(alarms.alarms.iter().map(|alarm| alarm.member_id).collect::<Vec<_>>(), [2]);
        let role: RoleGetResponse = read(r#"{"perm":[{},{}],"perm":[{}]}"#);
        assert_eq!(role.permissions.len(), 1);
        let txn: TxnResponse = read(r#"{"responses":[{"response_put":{}}],"responses":[{"response_range":{}}]}"#);
        assert!(matches!(*txn.results, [TxnResult::Range(_)]));
        let status: StatusResponse =
            read(r#"{"downgradeInfo":{"enabled":true,"targetVersion":"3.5"},"downgradeInfo":{}}"#);
        assert_eq!((status.downgrade_enabled, &*status.downgrade_target_version), (false, ""));
        let mut events = vec![super::watch::Event::default()];
        let mut text = br#"{"events":[{},{}],"events":[{"kv":{"mod_revision":"7"}}]}"#.to_vec();
        WatchMessage::decode(&mut Reader::new(&mut text), &mut events).unwrap();
        assert_eq!(events.iter().map(|event| event.kv.mod_revision).collect::<Vec<_>>(), [0, 7]);
    }

    #[test]
    fn an_id_that_a_server_leaves_out_is_zero_in_a_list_too() {
        assert_eq!(read::<LeaseLeasesResponse>(r#"{"leases":[{},{"ID":"2"}]}"#).ids, [0, 2]);
    }
}
