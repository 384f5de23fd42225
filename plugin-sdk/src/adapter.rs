use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::settings::{Problem, read_settings};
use crate::{DeliveredEvent, Description, Inbound, Outcome, Rejection, call};

/// A provider adapter: checks that a request comes from its provider and makes events of it.
///
/// An adapter holds nothing between calls: each runs in a fresh copy of the memory that
/// `configure` left. So the functions take the settings and no `self`.
pub trait Adapter: 'static {
    /// What an operator may set. Derive `Deserialize` and `JsonSchema`, with
    /// `#[serde(deny_unknown_fields)]`, so that a misspelt key is a problem and not silence.
    /// A field without a default must be set for each route, and for the adapter where it consumes
    /// events.
    type Settings: DeserializeOwned + JsonSchema + Send + Sync + 'static;

    /// The adapter about itself. Runs once, when the plugin is loaded. The SDK adds the schema of
    /// [`Self::Settings`].
    fn describe() -> Description;

    /// Checks what types cannot say of the settings. Runs once, when the adapter is loaded.
    fn check(settings: &Self::Settings) -> Vec<Problem> {
        let _ = settings;
        Vec::new()
    }

    /// Checks what a route sets against the adapter's own settings: for what must be the same on all
    /// its routes. `route` has the adapter's settings beneath its own. Runs once for each route, when
    /// the adapter is loaded.
    fn check_route(own: &Self::Settings, route: &Self::Settings) -> Vec<Problem> {
        let _ = (own, route);
        Vec::new()
    }

    /// Takes one inbound request: verifies it, then reads it.
    ///
    /// Deliberately without a default. The gateway commits nothing without a matching verdict, so
    /// an adapter that forgets to verify answers 401 to everybody.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] where the request is not the provider's or cannot be understood.
    fn receive(settings: &Self::Settings, inbound: &Inbound) -> Result<Outcome, Rejection>;

    /// Takes one event of another adapter. Override it only together with
    /// [`Description::consumes`].
    ///
    /// # Errors
    ///
    /// A [`Rejection`] makes the delivery a dead letter.
    fn consume(settings: &Self::Settings, event: &DeliveredEvent) -> Result<Outcome, Rejection> {
        let _ = (settings, event);
        Err(Rejection::new(400, "does_not_consume", "this adapter consumes no events"))
    }

    /// Answers a read-only question of an operator with JSON. Override it only together with
    /// [`Description::view`]. `parameters` is a JSON object.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] where there is no such view or its parameters make no sense.
    fn view(settings: &Self::Settings, name: &str, parameters: &str) -> Result<String, Rejection> {
        let _ = (settings, name, parameters);
        Err(Rejection::new(404, "no_such_view", "this adapter has no views"))
    }
}

/// An adapter that has taken up its settings.
pub struct Configured<A: Adapter> {
    /// Or what they lack: routes may complete them, each in its own way.
    own: Result<A::Settings, Vec<Problem>>,
    /// Each route's settings, the adapter's already beneath them.
    routes: BTreeMap<String, A::Settings>,
}

impl<A: Adapter> std::fmt::Debug for Configured<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Configured").field("routes", &self.routes.len()).finish_non_exhaustive()
    }
}

impl<A: Adapter> Configured<A> {
    /// Reads and checks the settings of the adapter and of each route.
    ///
    /// The adapter's own must be whole only where they are used as they are: without routes, and
    /// to consume events. Where its routes complete them, a setting that is required may stand in
    /// each of those; they are then held to one another.
    ///
    /// # Errors
    ///
    /// All problems found: at most one unreadable place in each object, and whatever
    /// [`Adapter::check`] and [`Adapter::check_route`] say.
    pub fn new(settings: &str, routes: &[(String, String)]) -> Result<Self, Vec<Problem>> {
        let (mut of_own, mut problems) = (Vec::new(), Vec::new());
        let own = read_settings::<A>(settings, None, &mut of_own);
        let mut by_name = BTreeMap::new();
        for (route, text) in routes {
            if let Some(read) = read_settings::<A>(text, Some(route), &mut problems) {
                by_name.insert(route.clone(), read);
            }
        }
        if let Some(own) = own.as_ref().or_else(|| by_name.values().next()) {
            for (route, settings) in &by_name {
                let found = A::check_route(own, settings).into_iter();
                problems.extend(found.map(|each| Problem { route: Some(route.clone()), ..each }));
            }
        }
        // Described only here: its schemas would weigh on every snapshot.
        if !of_own.is_empty() && (routes.is_empty() || A::describe().consumes_events()) {
            of_own.append(&mut problems);
            return Err(of_own);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self { own: own.filter(|_| of_own.is_empty()).ok_or(of_own), routes: by_name })
    }

    /// The adapter's own settings.
    fn own(&self) -> Result<&A::Settings, Rejection> {
        self.own.as_ref().map_err(|problems| {
            let told: Vec<&str> = problems.iter().map(Problem::message).collect();
            let detail = format!("without those of a route: {}", told.join("; "));
            Rejection::new(500, "settings_incomplete", detail)
        })
    }

    /// Runs [`Adapter::receive`] with the settings of the call's route.
    ///
    /// # Errors
    ///
    /// The adapter's rejection; 500 where `configure` was not told of the route.
    pub fn receive(&self) -> Result<Outcome, Rejection> {
        let settings = if self.routes.is_empty() {
            self.own()?
        } else {
            self.routes.get(&call::route()).ok_or_else(|| {
                Rejection::new(500, "unknown_route", "`configure` was not told of this route")
            })?
        };
        A::receive(settings, &Inbound::new())
    }

    /// Runs [`Adapter::consume`] with the adapter's own settings.
    ///
    /// # Errors
    ///
    /// The adapter's rejection; 500 where those settings are not whole.
    pub fn consume(&self, event: &DeliveredEvent) -> Result<Outcome, Rejection> {
        A::consume(self.own()?, event)
    }

    /// Runs [`Adapter::view`] with the adapter's own settings.
    ///
    /// # Errors
    ///
    /// The adapter's rejection; 500 where those settings are not whole.
    pub fn view(&self, name: &str, parameters: &str) -> Result<String, Rejection> {
        A::view(self.own()?, name, parameters)
    }
}

/// What [`Adapter::describe`] says, with the schema of the settings.
#[must_use]
pub fn description<A: Adapter>() -> Description {
    A::describe().settings::<A::Settings>()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    struct Probe;

    #[derive(serde::Deserialize, JsonSchema)]
    struct Limit {
        limit: u32,
    }

    impl Adapter for Probe {
        type Settings = Limit;

        fn describe() -> Description {
            Description::new("probe", "1.0.0", "A probe")
        }

        fn check(settings: &Limit) -> Vec<Problem> {
            if settings.limit > 9 { vec![Problem::new("limit", "too much")] } else { Vec::new() }
        }

        fn check_route(own: &Limit, route: &Limit) -> Vec<Problem> {
            let same = own.limit == route.limit;
            if same { Vec::new() } else { vec![Problem::new("limit", "another")] }
        }

        fn receive(_: &Limit, _: &Inbound) -> Result<Outcome, Rejection> {
            Err(Rejection::new(500, "never", ""))
        }
    }

    #[test]
    fn routes_are_checked_alone_and_against_their_adapter() {
        let problems = |own: u32, routes: &[u32]| -> Vec<String> {
            let text = |limit: &u32| format!("{{\"limit\":{limit}}}");
            let routes: Vec<_> =
                (0..).zip(routes).map(|(at, limit)| (format!("r{at}"), text(limit))).collect();
            let found = Configured::<Probe>::new(&text(&own), &routes).err().unwrap_or_default();
            let told =
                |each: &Problem| format!("{} {}", each.route().unwrap_or("own"), each.message());
            found.iter().map(told).collect()
        };
        let none: Vec<String> = Vec::new();
        assert_eq!(problems(1, &[]), none);
        assert_eq!(problems(1, &[1, 1]), none);
        assert_eq!(problems(1, &[1, 2]), ["r1 another"]);
        assert_eq!(problems(10, &[10]), ["r0 too much"]);
        assert_eq!(problems(1, &[10]), ["r0 too much", "r0 another"]);
    }
    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Needy {
        account: String,
        #[serde(default)]
        nested: Option<Nested>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Nested {
        code: u8,
    }

    /// An adapter with a setting that has no default; it consumes events where `CONSUMES`.
    struct Shop<const CONSUMES: bool>;

    impl<const CONSUMES: bool> Adapter for Shop<CONSUMES> {
        type Settings = Needy;

        fn describe() -> Description {
            let about = Description::new("shop", "1.0.0", "");
            if CONSUMES { about.consumes("com.example.paid") } else { about }
        }

        fn check(settings: &Needy) -> Vec<Problem> {
            let empty = settings.account.is_empty();
            empty.then(|| Problem::new("account", "is empty")).into_iter().collect()
        }

        fn receive(_: &Needy, _: &Inbound) -> Result<Outcome, Rejection> {
            Err(Rejection::new(400, "unused", ""))
        }

        fn view(settings: &Needy, _: &str, _: &str) -> Result<String, Rejection> {
            let code = settings.nested.as_ref().map_or(0, |nested| nested.code);
            Ok(format!("{} {code}", settings.account))
        }
    }

    fn configured<const CONSUMES: bool>(
        own: &str,
        routes: &[&str],
    ) -> Result<Configured<Shop<CONSUMES>>, Vec<String>> {
        let named = |(index, text): (usize, &&str)| (format!("r{index}"), (*text).to_owned());
        let routes: Vec<_> = routes.iter().enumerate().map(named).collect();
        Configured::new(own, &routes).map_err(|problems| {
            let told = |problem: &Problem| {
                let of = problem.route().unwrap_or("own");
                format!("{of} {}: {}", problem.path(), problem.message())
            };
            problems.iter().map(told).collect()
        })
    }

    #[test]
    fn what_is_required_may_stand_in_each_route() {
        let whole = r#"{"account":"a"}"#;
        let incomplete = configured::<false>("{}", &[whole, whole]).unwrap();
        // What an operator asks of the adapter itself then says what it lacks.
        let refused = incomplete.view("any", "{}").unwrap_err();
        assert_eq!(
            (refused.status(), refused.code(), refused.detail()),
            (500, "settings_incomplete", "without those of a route: missing field `account`")
        );
        // Own settings that are whole are used.
        let complete = configured::<false>(whole, &[whole]).unwrap();
        assert_eq!(complete.view("any", "{}").unwrap(), "a 0");
    }

    #[test]
    fn what_no_route_completes_is_told_once_and_where_it_is_missing() {
        let problems = |own, routes| configured::<false>(own, routes).unwrap_err();
        assert_eq!(problems("{}", &["{}"]), ["r0 : missing field `account`"]);
        assert_eq!(problems("{}", &[]), ["own : missing field `account`"]);
        assert_eq!(problems("{}", &[r#"{"account":""}"#]), ["r0 account: is empty"]);
        assert_eq!(
            problems(r#"{"acount":"a"}"#, &[r#"{"acount":"a"}"#]),
            ["r0 acount: unknown field `acount`, expected `account` or `nested`"]
        );
        assert_eq!(
            problems("{}", &[r#"{"account":"a","nested":{}}"#]),
            ["r0 nested: missing field `code`"]
        );
    }

    #[test]
    fn routes_that_complete_their_adapter_are_held_to_one_another() {
        let configured = |limits: &[u32]| {
            let routes = limits.iter().enumerate();
            let routes: Vec<_> = routes
                .map(|(at, limit)| (format!("r{at}"), format!("{{\"limit\":{limit}}}")))
                .collect();
            Configured::<Probe>::new("{}", &routes).map(drop)
        };
        assert!(configured(&[1, 1]).is_ok());
        let problems = configured(&[1, 2]).unwrap_err();
        assert_eq!(problems.iter().map(Problem::message).collect::<Vec<_>>(), ["another"]);
    }

    #[test]
    fn who_consumes_needs_settings_of_its_own() {
        let whole = r#"{"account":"a"}"#;
        let problems = configured::<true>("{}", &[whole]).unwrap_err();
        assert_eq!(problems, ["own : missing field `account`"]);
        assert!(configured::<true>(whole, &[whole]).is_ok());
    }
}
