//! Servers that tests talk to: an S3 server and a hub of models of our own, with failures to order, and an independent
//! peer.
#![allow(dead_code, reason = "no single test uses all that the servers offer")]

pub mod faults;
pub mod hub;
pub mod moto;
pub mod s3s_backend;
pub mod s3s_server;
