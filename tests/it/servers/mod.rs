//! Servers that tests talk to: one of our own, with failures to order, and an independent peer.
#![allow(dead_code, reason = "no single test uses all that the servers offer")]

pub mod faults;
pub mod moto;
pub mod s3s_backend;
pub mod s3s_server;
