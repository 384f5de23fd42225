/// `Some` of a value of which any of the named fields is there, else `None`: an object in an event's
/// data that says nothing is left out.
///
/// ```
/// #[derive(Default)]
/// struct Card { masked: Option<String>, brand: Option<String> }
///
/// let card = |brand| plugin_sdk::some_if_any!(Card { masked: None, brand }, masked, brand);
/// assert!(card(Some("visa".to_owned())).is_some());
/// assert!(card(None).is_none());
/// ```
#[macro_export]
macro_rules! some_if_any {
    ($value:expr, $($field:ident),+ $(,)?) => {{
        let value = $value;
        if $(value.$field.is_some())||+ { Some(value) } else { None }
    }};
}
