// Everything once, as a C++11 program would do it, on the etcd at ETCDGW_ENDPOINTS.
#include "etcdgw.hpp"
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace etcdgw;

namespace {

#define CHECK(claim)                                                                                      \
    do {                                                                                                  \
        if (!(claim))                                                                                     \
            throw std::logic_error(std::string(__FILE__ ":") + std::to_string(__LINE__) + ": " #claim);   \
    } while (0)

const etcdgw_bytes one_key = {nullptr, 0};

std::string own_prefix() { return "test/cpp/" + std::to_string(getpid()) + "/"; }
std::string own_key(const std::string &name) { return own_prefix() + name; }

Client connect() {
    etcdgw_client_options options = ETCDGW_CLIENT_OPTIONS_INIT;
    options.endpoints = std::getenv("ETCDGW_ENDPOINTS");
    CHECK(options.endpoints != nullptr);
    return make<Client>(etcdgw_client_new, &options);
}

int64_t put(const Client &client, const std::string &key, const std::string &value) {
    return make<PutResponse>(etcdgw_put, client.get(), view(key), view(value), nullptr)->header.revision;
}

GetResponse get(const Client &client, const std::string &key) {
    return make<GetResponse>(etcdgw_get, client.get(), view(key), nullptr);
}

void keys_and_values_are_any_bytes(const Client &client) {
    const std::string binary("\0\xff\x80 \n\"\\", 7);
    const std::vector<std::string> values = {"text", "", binary, std::string(1 << 20, '\xfe')};
    for (const std::string &value : values) {
        const std::string key = own_key("value") + binary;
        const int64_t revision = put(client, key, value);
        const GetResponse got = get(client, key);
        CHECK(got->kvs_len == 1);
        CHECK(text(got->kvs[0].key) == key && text(got->kvs[0].value) == value);
        CHECK(got->kvs[0].mod_revision == revision);
    }
}

void a_range_is_sorted(const Client &client) {
    for (const char *name : {"range/b", "range/a", "range/c"})
        put(client, own_key(name), name);
    etcdgw_get_options options = ETCDGW_GET_OPTIONS_INIT;
    options.sort_target = ETCDGW_SORT_BY_CREATE;
    options.sort_order = ETCDGW_SORT_DESCEND;
    const std::string prefix = own_key("range/");
    const GetResponse got = make<GetResponse>(etcdgw_get_prefix, client.get(), view(prefix), &options);
    CHECK(got->kvs_len == 3 && got->count == 3 && !got->more);
    CHECK(text(got->kvs[0].value) == "range/c" && text(got->kvs[2].value) == "range/b");
}

void a_transaction_takes_one_branch(const Client &client) {
    const std::string key = own_key("txn");
    put(client, key, "before");
    const Txn txn = make<Txn>(etcdgw_txn_new, client.get());
    run(etcdgw_txn_if_value, txn.get(), view(key), one_key, ETCDGW_EQUAL, ETCDGW_STR("before"));
    run(etcdgw_txn_then_put, txn.get(), view(key), ETCDGW_STR("after"), nullptr);
    run(etcdgw_txn_else_get, txn.get(), view(key), nullptr);
    const etcdgw_call_options *defaults = nullptr;
    CHECK(make<TxnResponse>(etcdgw_txn_commit, txn.get(), defaults)->succeeded);
    const TxnResponse again = make<TxnResponse>(etcdgw_txn_commit, txn.get(), defaults);
    CHECK(!again->succeeded && again->results_len == 1);
    CHECK(text(again->results[0]->get->kvs[0].value) == "after");
}

void a_key_goes_with_its_lease(const Client &client) {
    const std::string key = own_key("leased");
    etcdgw_put_options with_lease = ETCDGW_PUT_OPTIONS_INIT;
    int64_t ttl_s = 0;
    run(etcdgw_lease_grant, client.get(), int64_t(60), nullptr, &with_lease.lease, &ttl_s);
    make<PutResponse>(etcdgw_put, client.get(), view(key), ETCDGW_STR("x"), &with_lease);
    etcdgw_lease_ttl_options options = ETCDGW_LEASE_TTL_OPTIONS_INIT;
    options.keys = 1;
    const LeaseTtlResponse ttl = make<LeaseTtlResponse>(etcdgw_lease_ttl, client.get(), with_lease.lease, &options);
    CHECK(ttl_s == 60 && ttl->granted_ttl == 60 && ttl->keys_len == 1 && text(ttl->keys[0]) == key);
    run(etcdgw_lease_revoke, client.get(), with_lease.lease, nullptr);
    CHECK(get(client, key)->kvs_len == 0);
}

void a_watch_calls_back_until_it_is_stopped(const Client &client) {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::string> seen;
    const auto alive = std::make_shared<int>(0);

    Watch watch(client.get(), view(own_key("watched/")), nullptr, [&, alive](const etcdgw_watch_response &response) {
        std::lock_guard<std::mutex> lock(mutex);
        for (size_t i = 0; i < response.events_len; i++) {
            const etcdgw_watch_event &event = response.events[i];
            seen.push_back((event.type == ETCDGW_EVENT_PUT ? "put " : "delete ") + text(event.kv->value));
        }
        changed.notify_all();
    });
    put(client, own_key("watched/a"), "1");
    put(client, own_key("watched/b"), "2");
    make<DeleteResponse>(etcdgw_delete, client.get(), view(own_key("watched/a")), nullptr);
    {
        std::unique_lock<std::mutex> lock(mutex);
        CHECK(changed.wait_for(lock, std::chrono::seconds(30), [&] { return seen.size() >= 3; }));
        CHECK((seen == std::vector<std::string>{"put 1", "put 2", "delete "}));
    }
    CHECK(alive.use_count() == 2);
    watch.stop();
    CHECK(alive.use_count() == 1);
    put(client, own_key("watched/a"), "after");
    CHECK(seen.size() == 3);
}

void a_token_ends_a_blocked_call(const Client &client) {
    const Cancel cancel = make<Cancel>(etcdgw_cancel_new);
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    options.timeout_ms = -1;
    options.cancel = cancel.get();
    std::thread other([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        etcdgw_cancel_trigger(cancel.get());
    });
    etcdgw_status status = ETCDGW_OK;
    try {
        make<WatchResponse>(etcdgw_watch_once, client.get(), view(own_key("never")), &options);
    } catch (const Error &error) {
        status = error.status;
    }
    other.join();
    CHECK(status == ETCDGW_CANCELLED);
}

void an_error_becomes_an_exception(const Client &client) {
    etcdgw_put_options no_such_lease = ETCDGW_PUT_OPTIONS_INIT;
    no_such_lease.lease = 0x7123456789abcdef;
    bool thrown = false;
    try {
        make<PutResponse>(etcdgw_put, client.get(), view(own_key("refused")), ETCDGW_STR("x"), &no_such_lease);
    } catch (const Error &error) {
        thrown = true;
        CHECK(error.status == ETCDGW_NOT_FOUND && error.reason == ETCDGW_REASON_LEASE_NOT_FOUND);
        CHECK(!error.may_have_applied);
        CHECK(std::string(error.what()).find("requested lease not found") != std::string::npos);
    }
    CHECK(thrown);
}

} // namespace

int main() {
    try {
        const Client client = connect();
        keys_and_values_are_any_bytes(client);
        a_range_is_sorted(client);
        a_transaction_takes_one_branch(client);
        a_key_goes_with_its_lease(client);
        a_watch_calls_back_until_it_is_stopped(client);
        a_token_ends_a_blocked_call(client);
        an_error_becomes_an_exception(client);
        make<DeleteResponse>(etcdgw_delete_prefix, client.get(), view(own_prefix()), nullptr);
        return EXIT_SUCCESS;
    } catch (const std::exception &error) {
        std::cerr << error.what() << '\n';
        return EXIT_FAILURE;
    }
}
