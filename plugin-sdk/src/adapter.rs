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
    own: A::Settings,
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
    /// # Errors
    ///
    /// All problems found: at most one unreadable place in each object, and whatever
    /// [`Adapter::check`] and [`Adapter::check_route`] say.
    pub fn new(settings: &str, routes: &[(String, String)]) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let own = read_settings::<A>(settings, None, &mut problems);
        let mut by_name = BTreeMap::new();
        for (route, text) in routes {
            if let Some(read) = read_settings::<A>(text, Some(route), &mut problems) {
                by_name.insert(route.clone(), read);
            }
        }
        if let Some(own) = &own {
            for (route, settings) in &by_name {
                let found = A::check_route(own, settings).into_iter();
                problems.extend(found.map(|each| Problem { route: Some(route.clone()), ..each }));
            }
        }
        match own {
            Some(own) if problems.is_empty() => Ok(Self { own, routes: by_name }),
            _ => Err(problems),
        }
    }

    /// Runs [`Adapter::receive`] with the settings of the call's route.
    ///
    /// # Errors
    ///
    /// The adapter's rejection; 500 where `configure` was not told of the route.
    pub fn receive(&self) -> Result<Outcome, Rejection> {
        let settings = if self.routes.is_empty() {
            &self.own
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
    /// The adapter's rejection.
    pub fn consume(&self, event: &DeliveredEvent) -> Result<Outcome, Rejection> {
        A::consume(&self.own, event)
    }

    /// Runs [`Adapter::view`] with the adapter's own settings.
    ///
    /// # Errors
    ///
    /// The adapter's rejection.
    pub fn view(&self, name: &str, parameters: &str) -> Result<String, Rejection> {
        A::view(&self.own, name, parameters)
    }
}

/// What [`Adapter::describe`] says, with the schema of the settings.
#[must_use]
pub fn description<A: Adapter>() -> Description {
    A::describe().settings::<A::Settings>()
}

#[cfg(test)]
mod tests {
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
        assert_eq!(problems(10, &[10]), ["own too much", "r0 too much"]);
        assert_eq!(problems(1, &[10]), ["r0 too much", "r0 another"]);
    }
}
