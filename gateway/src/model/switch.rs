use super::UnixMillis;

/// An operator's word on whether a route is paused. It is stronger than the configuration's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteSwitch {
    pub paused: bool,
    /// When it was given.
    pub since: UnixMillis,
}
