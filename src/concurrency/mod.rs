//! What is made of etcd's services, for programs that share something.

pub mod mirror;
