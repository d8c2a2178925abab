// Ownership and errors in C++11: what _free is for becomes a destructor, a status other than OK an exception.
#ifndef ETCDGW_HPP
#define ETCDGW_HPP

#include <etcdgw.h>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

namespace etcdgw {

// The error's parts, copied: exceptions are thrown around, the C object is freed here.
class Error : public std::runtime_error {
public:
    explicit Error(const etcdgw_error *error)
        : std::runtime_error(etcdgw_error_message(error)), status(etcdgw_error_status(error)),
          reason(etcdgw_error_reason(error)), may_have_applied(etcdgw_error_may_have_applied(error) != 0) {}

    const etcdgw_status status;
    const int32_t reason;
    const bool may_have_applied;
};

// The last argument of a call; throws when the call has failed.
class Check {
public:
    Check() = default;
    Check(const Check &) = delete;
    Check &operator=(const Check &) = delete;
    ~Check() { etcdgw_error_free(error_); }

    etcdgw_error **out() { return &error_; }
    void operator()(etcdgw_status status) const {
        if (status != ETCDGW_OK)
            throw Error(error_);
    }

private:
    etcdgw_error *error_ = nullptr;
};

template <typename T, void (*Free)(T *)> struct Freeing {
    void operator()(T *owned) const { Free(owned); }
};
template <typename T, void (*Free)(T *)> using Owned = std::unique_ptr<T, Freeing<T, Free>>;

using Client = Owned<etcdgw_client, etcdgw_client_free>;
using Cancel = Owned<etcdgw_cancel, etcdgw_cancel_free>;
using Txn = Owned<etcdgw_txn, etcdgw_txn_free>;
using PutResponse = Owned<etcdgw_put_response, etcdgw_put_response_free>;
using GetResponse = Owned<etcdgw_get_response, etcdgw_get_response_free>;
using DeleteResponse = Owned<etcdgw_delete_response, etcdgw_delete_response_free>;
using TxnResponse = Owned<etcdgw_txn_response, etcdgw_txn_response_free>;
using LeaseTtlResponse = Owned<etcdgw_lease_ttl_response, etcdgw_lease_ttl_response_free>;
using WatchResponse = Owned<etcdgw_watch_response, etcdgw_watch_response_free>;
using WatchHandle = Owned<etcdgw_watch_handle, etcdgw_watch_free>;

// Runs a call whose last arguments are an output and the error, and owns the output.
template <typename Handle, typename Function, typename... Arguments>
Handle make(Function function, Arguments... arguments) {
    typename Handle::pointer made = nullptr;
    Check check;
    check(function(arguments..., &made, check.out()));
    return Handle(made);
}

// Runs a call whose last argument is the error.
template <typename Function, typename... Arguments> void run(Function function, Arguments... arguments) {
    Check check;
    check(function(arguments..., check.out()));
}

// Strings may hold any bytes, NUL included.
inline etcdgw_bytes view(const std::string &text) {
    etcdgw_bytes made = {reinterpret_cast<const uint8_t *>(text.data()), text.size()};
    return made;
}
inline std::string text(etcdgw_bytes bytes) {
    return bytes.len == 0 ? std::string() : std::string(reinterpret_cast<const char *>(bytes.data), bytes.len);
}

// Watches while it lives. The function is called on the library's thread and must not throw.
class Watch {
public:
    using Callback = std::function<void(const etcdgw_watch_response &)>;

    Watch(etcdgw_client *client, etcdgw_bytes prefix, const etcdgw_watch_options *options, Callback callback)
        : handle_(make<WatchHandle>(etcdgw_watch_prefix, client, prefix, options, &Watch::call,
                                    static_cast<void *>(new Callback(std::move(callback))), &Watch::destroy)) {}

    // Afterwards no callback runs and its captures are gone. Not from inside the callback.
    void stop() {
        etcdgw_watch_cancel(handle_.get());
        run(etcdgw_watch_join, handle_.get(), int64_t(-1));
    }

private:
    static void call(const etcdgw_watch_response *response, void *callback) {
        (*static_cast<Callback *>(callback))(*response);
    }
    static void destroy(void *callback) { delete static_cast<Callback *>(callback); }

    WatchHandle handle_;
};

} // namespace etcdgw

#endif
