//! HTTP/1.1 and HTTP/2, in the clear and by TLS: the same durable ingest by every way in.

use std::time::Duration;

use anyhow::ensure;

use super::counts::stored_events;
use super::h2load::{self, Post, Version};
use super::table::{Bar, Figure};
use super::wrk::{self, Run};
use super::{median, say, settled, show};
use crate::home::VKYC_SECRET;
use crate::provider::VKYC_SECRET_HEADER;
use crate::tls::Pair;
use crate::{Gateway, Home, HomeBuilder};

const PLAIN: &str = "127.0.0.2:0";
const TLS: &str = "127.0.0.3:0";

/// The test guest's route: each call makes an event with a key of its own, so that one body is as good
/// as many, and h2load knows but one.
const PATH: &str = "/hooks/keeper";
const BODY: &str = "plain bench";

/// Of what HTTP/1.1 does: HTTP/2 is not to be the slower way in, and the rest is chance.
const RATIO_MIN: f64 = 0.8;

/// How requests come in, and what its figures are called: requests a second, their p99, and the
/// gateway's processor time for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    names: [&'static str; 3],
    /// Absent: by wrk, which speaks HTTP/1.1.
    h2load: Option<Version>,
    tls: bool,
}

pub(super) const WRK: Way = Way {
    names: ["HTTP/1.1, wrk", "HTTP/1.1, wrk, p99", "HTTP/1.1, wrk, processor time"],
    h2load: None,
    tls: false,
};
pub(super) const HTTP_2: Way = Way {
    names: ["HTTP/2", "HTTP/2, p99", "HTTP/2, processor time"],
    h2load: Some(Version::Http2),
    tls: false,
};

const WAYS: [Way; 5] = [
    WRK,
    Way {
        names: ["HTTP/1.1", "HTTP/1.1, p99", "HTTP/1.1, processor time"],
        h2load: Some(Version::Http1),
        tls: false,
    },
    HTTP_2,
    Way {
        names: ["HTTP/1.1 by TLS", "HTTP/1.1 by TLS, p99", "HTTP/1.1 by TLS, processor time"],
        h2load: Some(Version::Http1),
        tls: true,
    },
    Way {
        names: ["HTTP/2 by TLS", "HTTP/2 by TLS, p99", "HTTP/2 by TLS, processor time"],
        h2load: Some(Version::Http2),
        tls: true,
    },
];

/// A run, and what the gateway used of the processors meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) run: Run,
    pub(super) used: Duration,
}

impl Measured {
    /// Microseconds of processor time for each answer.
    #[expect(clippy::cast_precision_loss, reason = "a count of requests in some seconds")]
    fn per_answer(&self) -> f64 {
        self.used.as_secs_f64() * 1e6 / self.run.answered_200() as f64
    }
}

/// A gateway that is loaded, and what its clients know.
#[derive(Debug)]
pub(super) struct Loaded {
    /// What its runs are called, before the name of the way.
    called: &'static str,
    home: Home,
    pub(super) gateway: Gateway,
    answered_200: u64,
    runs: u64,
}

impl Loaded {
    pub(super) const fn new(called: &'static str, home: Home, gateway: Gateway) -> Self {
        Self { called, home, gateway, answered_200: 0, runs: 0 }
    }

    /// Loads it for this time. Nothing may be refused.
    pub(super) fn run(&mut self, way: Way, time: Duration) -> anyhow::Result<Measured> {
        self.runs += 1;
        let before = self.gateway.processor_time()?;
        let run = match way.h2load {
            None => {
                let word = format!("run{}", self.runs);
                let ingest = self.gateway.ingest();
                wrk::script(ingest, PATH, "state.lua", &["plain", &word], time)?
            }
            Some(version) => {
                let (scheme, listen) = if way.tls { ("https", TLS) } else { ("http", PLAIN) };
                let url = format!("{scheme}://{}{PATH}", self.gateway.listener(listen)?);
                let header = (VKYC_SECRET_HEADER, VKYC_SECRET);
                let post = Post { url: &url, header, body: BODY };
                h2load::run(version, post, self.home.folder(), time)?
            }
        };
        ensure!(run.refused == 0, "the gateway refused {} requests: {}", run.refused, way.names[0]);
        ensure!(run.answered_200() > 0, "the gateway answers nothing: {}", way.names[0]);
        self.answered_200 += run.answered_200();
        let used = self.gateway.processor_time()?.saturating_sub(before);
        show(&format!("{}{}", self.called, way.names[0]), &run);
        Ok(Measured { run, used })
    }

    /// Stops it, and compares what is stored with what clients were answered: each run may have left as
    /// many requests unanswered as it had in flight.
    pub(super) async fn finish(self) -> anyhow::Result<()> {
        settled(&self.gateway).await?;
        self.gateway.terminate().await?;
        let stored = stored_events(&self.home.data().join("sluice.db"))?;
        let answered = self.answered_200;
        let abandoned_max = self.runs * u64::from(wrk::CONNECTIONS);
        ensure!(
            (answered..=answered + abandoned_max).contains(&stored),
            "clients were answered 200 {answered} times; {stored} events are stored"
        );
        say(&format!("{stored} events stored, {answered} answers 200 counted by clients"));
        Ok(())
    }
}

/// A home with the route and a listener for each way.
pub(super) fn home() -> anyhow::Result<Home> {
    let pair = Pair::new()?;
    let route = format!(
        "[routes.keeper]\npath = \"{PATH}\"\nplugin = \"keeper\"\n\
         secrets = {{ shared = \"keeper-secret\" }}\ndeliver_to = [\"events\"]\n"
    );
    let listeners = format!(
        "[ingest.listeners.plain]\naddress = \"{PLAIN}\"\nhttp2 = true\n\
         [ingest.listeners.tls]\naddress = \"{TLS}\"\ncertificate = \"tls.crt\"\nkey = \"secrets/tls.key\"\n"
    );
    let home = HomeBuilder::new()
        .guest("keeper")?
        .secret("keeper-secret", VKYC_SECRET)
        .toml(&route)
        .toml(&listeners)
        .events_file()
        .build()?;
    home.replace("secrets/tls.key", &pair.key)?;
    home.replace("tls.crt", &pair.certificate)?;
    Ok(home)
}

/// Every way in, in turns.
///
/// # Errors
///
/// Where something is not built, or what was sent was not answered as it should be.
pub async fn figures(time: Duration, rounds: u32) -> anyhow::Result<Vec<Figure>> {
    say("Loading the gateway by HTTP/1.1 and HTTP/2 in turns, 64 requests in flight");
    let home = home()?;
    let gateway = home.start_with(&[]).await?;
    let mut loaded = Loaded::new("", home, gateway);
    let mut runs: [Vec<Measured>; WAYS.len()] = Default::default();
    for _ in 0..rounds {
        for (way, runs) in WAYS.into_iter().zip(&mut runs) {
            runs.push(loaded.run(way, time)?);
            settled(&loaded.gateway).await?;
        }
    }
    loaded.finish().await?;
    let figure = |name, value, unit, bar| Figure { name, value, unit, bar };
    let mut figures = Vec::new();
    for (way, runs) in WAYS.into_iter().zip(&runs) {
        let of =
            |value: &dyn Fn(&Measured) -> f64| median(&runs.iter().map(value).collect::<Vec<_>>());
        let [name, p99, used] = way.names;
        figures.push(figure(name, of(&|one| one.run.per_second()), "requests/s", Bar::None));
        figures.push(figure(p99, of(&|one| one.run.p99_us), "us", Bar::None));
        figures.push(figure(used, of(&Measured::per_answer), "us/request", Bar::None));
    }
    let per_second = |runs: &[Measured]| {
        median(&runs.iter().map(|one| one.run.per_second()).collect::<Vec<_>>())
    };
    let [_, one, two, one_tls, two_tls] = runs.each_ref().map(|runs| per_second(runs));
    figures.push(figure("HTTP/2 : HTTP/1.1", two / one, "", Bar::AtLeast(RATIO_MIN)));
    figures.push(figure(
        "by TLS, HTTP/2 : HTTP/1.1",
        two_tls / one_tls,
        "",
        Bar::AtLeast(RATIO_MIN),
    ));
    Ok(figures)
}
