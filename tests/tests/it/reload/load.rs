//! Reloads while webhooks arrive.

mod changing;
mod sender;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sluice_tests::http::{Connection, Request};
use sluice_tests::{long, wait_until};
use tokio::task::JoinSet;

use self::changing::{ACTIVE, KINDS, State, by, change, rotate, secret_value};
use self::sender::{Answered, Load, fresh, memory, percentile};
use super::HOSTILE_SECRET;

#[tokio::test(flavor = "multi_thread")]
async fn reloads_under_load_drop_no_request_and_mix_no_generations() {
    let (baseline, reloads, every) = if long() {
        (Duration::from_secs(60), 1_000, Duration::from_millis(300))
    } else {
        (Duration::from_secs(5), 4 * KINDS, Duration::from_millis(250))
    };
    let load = Load::start().await;
    let mut state = State::new();

    let stop = Arc::new(AtomicBool::new(false));
    let (quiet, ()) = tokio::join!(load.run(Arc::clone(&stop)), async {
        tokio::time::sleep(baseline).await;
        stop.store(true, Ordering::Relaxed);
    });

    let stop = Arc::new(AtomicBool::new(false));
    let mut memories = Vec::new();
    let (busy, ()) = tokio::join!(load.run(Arc::clone(&stop)), async {
        let mut next = tokio::time::interval(every);
        for turn in 0..reloads {
            next.tick().await;
            change(&load, turn, &mut state).await;
            memories.push(memory(&load.gateway));
        }
        stop.store(true, Ordering::Relaxed);
    });

    let figures =
        [&quiet, &busy].map(|answered| (percentile(answered, 0.5), percentile(answered, 0.99)));
    let [(quiet_p50, quiet_p99), (busy_p50, busy_p99)] = figures;
    let warm = memories[(memories.len() - 1).min(100)];
    println!(
        "{} requests without reloads: p50 {quiet_p50:.2?}, p99 {quiet_p99:.2?}; {} requests under \
         {reloads} reloads: p50 {busy_p50:.2?}, p99 {busy_p99:.2?} ({:.2} times); memory {:.1} MiB after \
         the first reload, {warm:.1} when warm, {:.1} at the end",
        quiet.len(),
        busy.len(),
        busy_p99.as_secs_f64() / quiet_p99.as_secs_f64(),
        memories[0],
        memories[memories.len() - 1],
    );
    let took = load.gateway.reloads().await.unwrap();
    let longest = took.iter().filter_map(|record| record["took_ms"].as_u64()).max();
    println!("the longest of the last {} reloads took {} ms", took.len(), longest.unwrap());
    assert!(!load.broken.load(Ordering::Relaxed), "a kept connection was closed");
    let all: Vec<Answered> = quiet.into_iter().chain(busy).collect();
    load.audit(&all, &state.together).await;

    let gateway = &load.gateway;
    let generation = gateway.metric("sluice_generation").await.unwrap();
    let applied = f64::from(u32::try_from(reloads).unwrap());
    assert!(generation > applied, "{generation} generations");
    // What serves, and no more: the two adapters of the last generation.
    wait_until("old snapshots and adapters to be freed", Duration::from_secs(10), || async {
        let snapshots = gateway.metric("sluice_snapshots").await.ok()?;
        let adapters = gateway.metric("sluice_adapters").await.ok()?;
        (snapshots == 1.0 && adapters == 2.0).then_some(())
    })
    .await
    .unwrap();
    if long() {
        assert!(busy_p99 <= quiet_p99 * 2, "p99 {busy_p99:?} and {quiet_p99:?}");
        let last = memories[memories.len() - 1];
        assert!(last <= warm * 1.05, "{warm} MiB grew to {last}");
    }
}

/// The control: a gateway that drains its listener at a reload breaks connections off.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_drains_at_a_reload_fails_this_test() {
    let load = Load::start_with(&[("SLUICE_FAULT", "drain-at-reload")]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (answered, ()) = tokio::join!(load.run(Arc::clone(&stop)), async {
        load.gateway.reload().await.unwrap();
        let broken = || async { load.broken.load(Ordering::Relaxed).then_some(()) };
        wait_until("a broken connection", Duration::from_secs(30), broken).await.unwrap();
        stop.store(true, Ordering::Relaxed);
    });
    assert!(answered.iter().any(|one| one.status.is_none()), "a request without an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_rotations_of_a_secret_under_load_refuse_nobody() {
    let load = Load::start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let (answered, ()) = tokio::join!(load.run(Arc::clone(&stop)), async {
        for turn in 1..=100 {
            rotate(&load, turn).await;
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("{} requests under 100 rotations, none refused", answered.len());
    assert!(!load.broken.load(Ordering::Relaxed), "a kept connection was closed");
    load.audit(&answered, &BTreeSet::from([by("1.2.3", "0")])).await;
    // What is no longer among the active ones is refused: the rotations did take place.
    let bearer = format!("Bearer {}", secret_value(100 - ACTIVE));
    let request =
        Request::post_json("/hooks/hostile", "tell late").header("authorization", &bearer);
    assert_eq!(fresh(&load.gateway, request).await.unwrap().status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_moves_under_load_resets_no_connection() {
    let load = Load::start().await;
    // A port that was free a moment ago, as an operator would choose one.
    let port = || {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        probe.local_addr().unwrap().to_string()
    };
    let mut listen = "127.0.0.1:0".to_owned();
    let gateway = Arc::clone(&load.gateway);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let mut sending = JoinSet::new();
    // Each request over a connection of its own, to where the gateway listens at that moment.
    sending.spawn(async move {
        let mut count = 0_u32;
        while !stopped.load(Ordering::Relaxed) {
            let bearer = format!("Bearer {HOSTILE_SECRET}");
            let request = Request::post_json("/hooks/hostile", format!("tell m{count}"))
                .header("authorization", &bearer);
            let at = gateway.ingest_now().unwrap();
            let answer = match Connection::open(at).await {
                Ok(mut connection) => connection.send(request).await,
                // It went on while this was looking: only then may it be refused.
                Err(error) if gateway.ingest_now().unwrap() == at => Err(error),
                Err(_) => continue,
            };
            assert_eq!(answer.unwrap().status, 200);
            count += 1;
        }
        count
    });
    for _ in 0..10 {
        let next = port();
        load.home
            .edit(
                &format!("[ingest]\nlisten = \"{listen}\""),
                &format!("[ingest]\nlisten = \"{next}\""),
            )
            .unwrap();
        listen = next;
        load.gateway.reload().await.unwrap();
        assert_eq!(load.gateway.ingest_now().unwrap().to_string(), listen);
    }
    stop.store(true, Ordering::Relaxed);
    let count = sending.join_next().await.unwrap().unwrap();
    println!("{count} requests while the listener moved 10 times");
    assert!(count > 0);
}
