//! Ingest over real sockets: with a scripted adapter and a store in memory, so that everything
//! between the wire and those two is what runs in production.
//!
//! The modules say `cfg(test)` although there is nothing else here: it is how the linter knows
//! that their helpers are tests as well.

#[cfg(test)]
mod again;
#[cfg(test)]
mod bodies;
#[cfg(test)]
mod client;
#[cfg(test)]
mod deadlines;
#[cfg(test)]
mod double;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod listeners;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod proxied;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod strict;
#[cfg(test)]
mod telemetry;
