//! libetcdgw: etcd v3 for C over the HTTP/JSON gateway.
