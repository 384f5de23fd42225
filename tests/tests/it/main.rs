//! Black-box tests of the whole gateway, one module a subject.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "in tests a panic is the way to tell, and figures and seeds are printed"
)]

mod again;
mod bodies;
mod cli;
mod consume;
mod crash;
mod delivery;
mod disk;
mod docs;
mod fixtures;
mod hostile;
mod http2;
mod interop;
mod io_error;
mod limits;
mod listeners;
mod logging;
mod operating;
mod pause;
mod payouts;
mod power;
mod properties;
mod proxies;
mod random;
mod reload;
mod sandbox;
mod secrecy;
mod secrets;
mod service_manager;
mod state;
mod stopping;
mod supply;
mod sweep;
mod tls;
mod unit;
mod verdicts;
mod views;
