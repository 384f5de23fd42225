//! The figures beside their bars.

use std::fmt::Write as _;

/// Where a figure has to lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bar {
    AtLeast(f64),
    AtMost(f64),
    /// Shown for its own sake.
    None,
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    pub name: &'static str,
    pub value: f64,
    pub unit: &'static str,
    pub bar: Bar,
}

impl Figure {
    #[must_use]
    pub fn reached(&self) -> bool {
        match self.bar {
            Bar::AtLeast(bar) => self.value >= bar,
            Bar::AtMost(bar) => self.value <= bar,
            Bar::None => true,
        }
    }
}

/// The table as it is printed.
#[must_use]
pub fn render(figures: &[Figure]) -> String {
    let mut text = format!("{:<52} {:>12} {:<11} {:>9}\n", "figure", "measured", "", "bar");
    for figure in figures {
        let bar = match figure.bar {
            Bar::AtLeast(bar) => format!(">= {bar}"),
            Bar::AtMost(bar) => format!("<= {bar}"),
            Bar::None => String::new(),
        };
        let note = if figure.reached() { "" } else { "  not reached" };
        let line = format!(
            "{:<52} {:>12} {:<11} {bar:>9}{note}",
            figure.name,
            number(figure.value),
            figure.unit
        );
        // Writing to a String cannot fail.
        writeln!(text, "{}", line.trim_end()).unwrap_or_default();
    }
    text
}

/// Whole numbers from 1,000 on, else three digits after the point: enough for every unit here.
fn number(value: f64) -> String {
    if value >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_beyond_its_bar_is_marked() {
        let figure = |value, bar| Figure { name: "ratio", value, unit: "", bar };
        assert!(figure(0.4, Bar::AtLeast(0.4)).reached());
        assert!(!figure(0.39, Bar::AtLeast(0.4)).reached());
        assert!(!figure(16.0, Bar::AtMost(15.0)).reached());
        let text = render(&[figure(16.0, Bar::AtMost(15.0)), figure(85_000.4, Bar::None)]);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].ends_with("<= 15  not reached"), "{text}");
        assert!(lines[2].ends_with("85000"), "{text}");
    }
}
