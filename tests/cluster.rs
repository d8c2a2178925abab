//! Real clusters: their members, their state, and what a client does when one of them is gone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{
    Cluster, FakeGateway, LONG, get, on_each_version, one, plain, put, timed, versions, wait_until, with_each_version,
    within,
};
use etcdgw::client::{CallOptions, Client};
use etcdgw::config::Config;
use etcdgw::error::{Code, Error, Reason};
use etcdgw::rpc::kv::RangeRequest;
use std::collections::BTreeSet;
use std::time::Duration;

#[test]
fn a_single_member_tells_about_itself() {
    on_each_version(|etcd| {
        let client = common::administrator(&etcd.url());
        for linearizable in [true, false] {
            let list = client.member_list(linearizable, &plain()).unwrap();
            let member = &list.members[0];
            assert_eq!((list.members.len(), &member.name[..], member.id), (1, "default", list.header.member_id));
            assert_eq!((&member.client_urls[..], member.is_learner), (&[etcd.url()][..], false));
        }
        let status = client.status(None, &plain()).unwrap();
        assert_eq!((&status.version[..], status.leader), (etcd.version(), status.header.member_id));
        assert!(status.db_size >= status.db_size_in_use && status.db_size_in_use > 0);
        assert!(status.raft_index >= status.raft_applied_index && status.raft_applied_index > 0);
        assert!(status.raft_term > 0 && status.errors.is_empty() && !status.is_learner && !status.downgrade_enabled);
        let knows_quota = etcd.release() >= (3, 6);
        assert_eq!(status.db_size_quota > 0, knows_quota);
        assert_eq!(!status.storage_version.is_empty(), knows_quota);
        assert_eq!(client.status(Some(&etcd.url()), &plain()).unwrap().header.member_id, member_id(&client));
    });
}

fn member_id(client: &Client) -> u64 {
    client.member_list(false, &plain()).unwrap().header.member_id
}

#[test]
fn every_member_of_a_cluster_is_asked_for_its_own_state() {
    let cluster = Cluster::start(&versions().pop().unwrap(), 3);
    let client = common::administrator(&cluster.endpoints());
    let statuses: Vec<_> =
        cluster.members.iter().map(|member| client.status(Some(&member.url()), &plain()).unwrap()).collect();
    let ids: BTreeSet<u64> = statuses.iter().map(|status| status.header.member_id).collect();
    let listed: BTreeSet<u64> =
        client.member_list(true, &plain()).unwrap().members.iter().map(|member| member.id).collect();
    assert_eq!((ids.len(), &ids), (3, &listed));
    assert!(statuses.iter().all(|status| status.leader == statuses[0].leader));
}

#[test]
fn a_client_of_one_member_learns_of_the_others() {
    for version in versions() {
        let mut cluster = Cluster::start(&version, 3);
        let client = common::administrator(&cluster.members[0].url());
        client.sync_endpoints(&plain()).unwrap();
        put(&client, b"key", b"value").unwrap();
        cluster.members[0].kill();
        // The lost member may have been the leader: then the others must agree on a new one first.
        wait_until(LONG, || get(&client, b"key").is_ok());
        assert_eq!(get(&client, b"key").unwrap().unwrap(), b"value");
        assert_ne!(*client.base_url(), cluster.members[0].url());
    }
}

#[test]
fn calls_go_on_while_members_come_and_go() {
    for version in versions() {
        let mut cluster = Cluster::start(&version, 3);
        let client = common::administrator(&cluster.endpoints());
        let mut revision = 0;
        for (round, gone) in [0, 1, 2].into_iter().enumerate() {
            cluster.members[gone].kill();
            wait_until(LONG, || put(&client, b"key", &[round as u8]).is_ok());
            assert_eq!(get(&client, b"key").unwrap().unwrap(), [round as u8]);
            let now = common::get_with(&client, b"key", &plain()).unwrap().kvs[0].mod_revision;
            assert!(now > revision);
            revision = now;
            cluster.members[gone].restart();
        }
    }
}

#[test]
fn a_frozen_member_holds_a_read_for_a_moment_and_is_left() {
    let cluster = Cluster::start(&versions().pop().unwrap(), 3);
    let client = common::administrator(&cluster.endpoints());
    put(&client, b"key", b"value").unwrap();
    cluster.members[0].stop();
    // It may have been the leader: then another one is elected meanwhile.
    let (answer, took) = timed(|| common::get_with(&client, b"key", &within(LONG)));
    answer.unwrap();
    assert_ne!(*client.base_url(), cluster.members[0].url());
    assert!(took < Duration::from_secs(12), "{took:?}");
    cluster.members[0].cont();
}

#[test]
fn without_a_leader_reads_of_one_member_are_answered_and_the_rest_is_an_error() {
    with_each_version(|version| {
        let mut cluster = Cluster::start(version, 3);
        let client = Client::new(Config { max_retries: Some(0), ..common::config(&cluster.members[0].url()) }).unwrap();
        put(&client, b"key", b"value").unwrap();
        wait_until(LONG, || {
            let serializable = RangeRequest { serializable: true, ..one(b"key") };
            client.range(&serializable, &plain()).unwrap().count == 1
        });
        cluster.members[1].kill();
        cluster.members[2].kill();
        wait_until(LONG, || client.status(None, &plain()).unwrap().errors == ["etcdserver: no leader"]);
        let serializable = RangeRequest { serializable: true, ..one(b"key") };
        assert_eq!(client.range(&serializable, &plain()).unwrap().count, 1);
        assert_eq!(client.member_list(false, &plain()).unwrap().members.len(), 3);
        let (answer, took) = timed(|| put(&client, b"key", b"other"));
        let error = answer.unwrap_err();
        assert!(matches!(&error, Error::Server { code: Code::Unavailable, .. }), "{error:?}");
        assert_eq!(error.reason(), Reason::NoLeader);
        assert!(!error.may_have_applied() && error.is_retryable());
        assert!(took < Duration::from_secs(1), "a member that knows of no leader refuses at once: {took:?}");
        cluster.members[1].restart();
        wait_until(LONG, || get(&client, b"key").is_ok());
        assert_eq!(get(&client, b"key").unwrap().unwrap(), b"value", "what was refused was not done");
        wait_until(LONG, || put(&client, b"key", b"again").is_ok());
    });
}

/// What a server says to a change that it refuses.
#[track_caller]
fn assert_refused<T>(result: Result<T, Error>, code: Code, reason: Reason) {
    let Err(error) = result else { panic!("it was not refused") };
    assert!(matches!(&error, Error::Server { code: given, .. } if *given == code), "{error:?}");
    assert_eq!(error.reason(), reason, "{error:?}");
    assert!(!error.may_have_applied(), "{error:?}");
}

#[test]
fn a_learner_is_added_and_caught_up_and_promoted() {
    with_each_version(|version| {
        let mut cluster = Cluster::start(version, 1);
        let client = common::administrator(&cluster.members[0].url());
        put(&client, b"key", b"value").unwrap();
        let voter = cluster.ids()[0];
        assert_refused(client.member_promote(voter, &plain()), Code::FailedPrecondition, Reason::Learner);

        let added = client.member_add_learner(&["http://127.0.0.1:1"], &within(LONG)).unwrap();
        assert_eq!((added.members.len(), added.member.is_learner, &added.member.name[..]), (2, true, ""));
        assert_eq!(added.member.peer_urls, ["http://127.0.0.1:1"]);
        // It was never started, so that it can't be in sync; and there may be one learner only.
        let refused = client.member_promote(added.member.id, &plain());
        assert_refused(refused, Code::FailedPrecondition, Reason::Learner);
        let second = client.member_add_learner(&["http://127.0.0.1:2"], &plain());
        assert_refused(second, Code::FailedPrecondition, Reason::Learner);
        let left = client.member_remove(added.member.id, &plain()).unwrap();
        assert_eq!(left.members.iter().map(|member| member.id).collect::<Vec<_>>(), [voter]);

        let learner = cluster.add_learner();
        wait_until(LONG, || client.member_promote(learner, &plain()).is_ok());
        let list = client.member_list(true, &plain()).unwrap();
        assert!(list.members.len() == 2 && list.members.iter().all(|member| !member.is_learner), "{list:?}");
        // It votes: without it there is no majority, and with it there is.
        cluster.members[0].kill();
        let promoted = common::administrator(&cluster.members[1].url());
        common::put_with(&promoted, b"key", b"other", &within(Duration::from_secs(1))).unwrap_err();
        cluster.members[0].relaunch();
        wait_until(LONG, || put(&promoted, b"key", b"other").is_ok());
        assert_eq!(get(&client, b"key").unwrap().unwrap(), b"other");
    });
}

#[test]
fn members_are_added_and_moved_and_removed() {
    with_each_version(|version| {
        let mut cluster = Cluster::start(version, 1);
        let client = common::administrator(&cluster.members[0].url());
        let first = cluster.ids()[0];
        let second = cluster.add_voter();
        let third = cluster.add_voter();
        let listed: BTreeSet<u64> =
            client.member_list(true, &plain()).unwrap().members.iter().map(|member| member.id).collect();
        assert_eq!(listed, BTreeSet::from([first, second, third]));
        put(&client, b"key", b"value").unwrap();
        assert_eq!(get(&common::administrator(&cluster.members[2].url()), b"key").unwrap().unwrap(), b"value");

        let mut removed = None;
        // The others must have been connected for a while, by the cluster's own account.
        wait_until(LONG, || {
            removed = client.member_remove(third, &plain()).ok();
            removed.is_some()
        });
        assert_eq!(removed.unwrap().members.len(), 2);
        assert_refused(client.member_remove(third, &plain()), Code::NotFound, Reason::MemberNotFound);
        let gone = common::administrator(&cluster.members[2].url());
        wait_until(LONG, || gone.status(None, &within(Duration::from_secs(1))).is_err());

        // It has its new URLs in the list, whether it listens there or not.
        let urls = ["http://127.0.0.1:1", "http://127.0.0.1:2"];
        let updated = client.member_update(second, &urls, &plain()).unwrap();
        let moved = updated.members.iter().find(|member| member.id == second).unwrap();
        assert_eq!(moved.peer_urls, urls);
    });
}

type Change<'a> = &'a dyn Fn(&CallOptions) -> Result<(), Error>;

#[test]
fn a_change_of_members_that_makes_no_sense_is_refused_and_nothing_is_changed() {
    on_each_version(|etcd| {
        let client = common::administrator(&etcd.url());
        let own = client.member_list(true, &plain()).unwrap().members[0].clone();
        let own_urls: Vec<&str> = own.peer_urls.iter().map(String::as_str).collect();
        let is_wrong = |result: Result<(), Error>| matches!(result, Err(Error::InvalidArgument { .. }));
        for add in [Client::member_add, Client::member_add_learner] {
            assert_refused(add(&client, &own_urls, &plain()), Code::FailedPrecondition, Reason::Other);
            // etcd would take the first of these, and have one member more that nobody can reach.
            for urls in [&[][..], &["no URL"], &["http://127.0.0.1:1", "http://127.0.0.1"]] {
                assert!(is_wrong(add(&client, urls, &plain()).map(drop)), "{urls:?}");
                assert!(is_wrong(client.member_update(own.id, urls, &plain()).map(drop)), "{urls:?}");
            }
        }
        // A change that comes before the server's raft has noted that the last one was applied is dropped without a word.
        let answered = |change: Change<'_>| {
            let mut answer = Ok(());
            wait_until(LONG, || {
                answer = change(&within(Duration::from_secs(2)));
                !matches!(answer, Err(Error::Deadline { .. }))
            });
            answer
        };
        let urls = &["http://127.0.0.1:2"];
        let changes: [Change<'_>; 3] = [
            &|call| client.member_remove(12345, call).map(drop),
            &|call| client.member_promote(12345, call).map(drop),
            &|call| client.member_update(12345, urls, call).map(drop),
        ];
        for change in changes {
            assert_refused(answered(change), Code::NotFound, Reason::MemberNotFound);
        }
        let list = client.member_list(true, &plain()).unwrap();
        assert_eq!((list.members.len(), &list.members[0].peer_urls), (1, &own.peer_urls));
    });
}

#[test]
fn a_change_of_members_that_got_no_answer_is_not_made_again_and_may_have_happened() {
    let lost = FakeGateway::start(|_, reply| reply.reset());
    let other = FakeGateway::answering("{}");
    for change in ["add", "remove", "update", "promote"] {
        let client = common::administrator(&format!("{},{}", lost.url(), other.url()));
        let error = match change {
            "add" => client.member_add(&["http://127.0.0.1:1"], &plain()).map(drop),
            "remove" => client.member_remove(1, &plain()).map(drop),
            "update" => client.member_update(1, &["http://127.0.0.1:1"], &plain()).map(drop),
            _ => client.member_promote(1, &plain()).map(drop),
        };
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Lost { .. }), "{change}: {error:?}");
        assert!(error.may_have_applied() && !error.is_retryable(), "{change}");
    }
    assert_eq!((lost.requests().len(), other.requests().len()), (4, 0));
}
