//! The engine as the rest of the gateway knows it.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use super::columns::unsql;
use super::probe::KeyProbe;
use super::writer::Job;
use super::{SqliteStorage, query, switches};
use crate::model::{
    AdapterName, AttemptRecord, DestinationName, IdempotencyKey, LeasedDelivery, RequestId,
    RouteName, RouteSwitch, UnixMillis,
};
use crate::storage::{
    Claiming, Commit, Committed, IsOwed, Lane, RequestFilter, RequestSummary, StateView, Storage,
    StorageError, StorageFuture, StorageHealth, StoredRequest,
};

impl Storage for SqliteStorage {
    fn commit(&self, commit: Commit) -> StorageFuture<'_, Committed> {
        Box::pin(async move {
            let committed = self.commit_now(commit, None).await?;
            // Only an attempt can have a stale fence.
            committed.ok_or(StorageError::Closed)
        })
    }

    fn commit_attempt(
        &self,
        attempt: AttemptRecord,
        commit: Commit,
    ) -> StorageFuture<'_, Option<Committed>> {
        Box::pin(self.commit_now(commit, Some(attempt)))
    }

    fn seen(
        &self,
        route: Option<&RouteName>,
        adapter: &AdapterName,
        key: &IdempotencyKey,
        now: UnixMillis,
    ) -> Result<bool, StorageError> {
        if let Some(over) = self.shared.over() {
            return Err(over);
        }
        self.seen_now(&KeyProbe::new(self.shared.salt()?, key, route, adapter), now)
    }

    fn claim_state(
        &self,
        claims: Vec<(AdapterName, u32)>,
        claiming: Claiming,
    ) -> StorageFuture<'_, Vec<(AdapterName, u32)>> {
        Box::pin(self.ask_writer(move |writer| writer.claim(&claims, claiming)))
    }

    fn state(
        &self,
        adapter: &AdapterName,
        version: u32,
    ) -> Result<Box<dyn StateView>, StorageError> {
        self.view(adapter, version)
    }

    fn lane(&self, adapter: &AdapterName) -> StorageFuture<'_, Lane> {
        let entered = self.enter_lane(adapter.clone());
        Box::pin(async move { entered.await.map(|(lane, _place)| lane) })
    }

    fn lease(
        &self,
        destination: &DestinationName,
        limit: usize,
        lease: Duration,
    ) -> StorageFuture<'_, Vec<LeasedDelivery>> {
        let destination = destination.clone();
        Box::pin(async move { self.lease_due(&destination, limit, lease).await })
    }

    fn record(&self, attempts: Vec<AttemptRecord>) -> StorageFuture<'_, usize> {
        Box::pin(async move {
            let place = self.place().await?;
            self.ask(|reply| Job::Record(attempts, reply, place)).await
        })
    }

    fn next_due(&self, destination: &DestinationName) -> StorageFuture<'_, Option<UnixMillis>> {
        let moment = self.shared.moment();
        let due = self.shared.queue().next_due(destination, moment.even);
        let due = due.map(|due| moment.wall_at(due));
        let due = self.shared.over().map_or(Ok(due), Err);
        Box::pin(std::future::ready(due))
    }

    fn nudges(&self, destination: &DestinationName) -> watch::Receiver<u64> {
        self.shared.nudges.of(destination)
    }

    fn retire_destinations(&self, is_owed: IsOwed) -> StorageFuture<'_, u64> {
        Box::pin(self.ask_writer(move |writer| writer.retire_step(&is_owed)))
    }

    fn requests(&self, filter: RequestFilter) -> StorageFuture<'_, Vec<RequestSummary>> {
        Box::pin(self.queries.ask(move |connection| query::requests(connection, &filter)))
    }

    fn request(&self, id: RequestId) -> StorageFuture<'_, Option<StoredRequest>> {
        let moment = self.shared.moment();
        Box::pin(self.queries.ask(move |connection| query::request(connection, &id, moment)))
    }

    fn health(&self) -> StorageFuture<'_, StorageHealth> {
        let refusing = match self.shared.over() {
            Some(over) => Some(over.to_string()),
            None if self.shared.full.load(Ordering::Acquire) => {
                Some(StorageError::Full.to_string())
            }
            None => None,
        };
        let by_destination = self.shared.queue().pending();
        let health = StorageHealth {
            refusing,
            pending_by_destination: by_destination,
            pending_deliveries: unsql(self.shared.pending.load(Ordering::Relaxed)),
            dead_letters: unsql(self.shared.dead.load(Ordering::Relaxed)),
        };
        Box::pin(std::future::ready(Ok(health)))
    }

    fn sweep(&self, retention: Duration) -> StorageFuture<'_, u64> {
        Box::pin(self.sweep_all(retention))
    }

    fn route_switches(&self) -> StorageFuture<'_, Vec<(RouteName, RouteSwitch)>> {
        Box::pin(self.queries.ask(switches::all))
    }

    fn set_route_switch(
        &self,
        route: RouteName,
        switch: Option<RouteSwitch>,
    ) -> StorageFuture<'_, ()> {
        Box::pin(self.ask_writer(move |writer| writer.set_route_switch(&route, switch)))
    }

    fn answers(&self) -> StorageFuture<'_, ()> {
        Box::pin(self.ask_writer(|_| Ok(())))
    }

    fn set_ballast(&self, bytes: u64) -> StorageFuture<'_, ()> {
        Box::pin(self.ask_writer(move |writer| {
            writer.set_ballast(bytes);
            Ok(())
        }))
    }

    fn failed(&self) -> Pin<Box<dyn Future<Output = String> + Send + '_>> {
        let mut failed = self.shared.failed.subscribe();
        Box::pin(async move {
            let reason =
                failed.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
            match reason {
                Some(reason) => reason,
                // The sender lives as long as this store, which this future borrows.
                None => std::future::pending().await,
            }
        })
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            self.shared.closed.store(true, Ordering::Release);
            // It may have ended already.
            drop(self.jobs.send(Job::Close));
            let mut ended = self.ended.clone();
            drop(ended.wait_for(|ended| *ended).await);
            // Its threads are at their ends: this blocks for a moment, and never beyond its bound.
            self.join();
        })
    }
}
