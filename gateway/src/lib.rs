//! Sluice, a self-hosted webhook gateway. `ARCHITECTURE.md` beside this crate is the map.
//!
//! Unsafe code is denied by the workspace's lints; the one exception is in `adapter::cache`.

pub mod adapter;
pub mod admin;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod faults;
pub mod gateway;
pub mod ingest;
pub mod model;
mod priority;
pub mod reading;
pub mod reload;
pub mod replay;
pub mod service_manager;
pub mod snapshot;
pub mod storage;
pub mod telemetry;
pub mod verification;
