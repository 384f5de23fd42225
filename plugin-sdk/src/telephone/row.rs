//! What the generated table consists of.

/// One row of the generated table.
pub(super) struct Row {
    pub(super) id: &'static str,
    pub(super) plan: Plan,
    /// What is dialled before a country code, separated by spaces, the longest first.
    pub(super) exits: &'static str,
    /// Bit `n`: national numbers of `n` digits may be written without the trunk prefix and are no
    /// local numbers.
    pub(super) bare: u16,
}

/// How numbers of a country code are made.
pub(super) struct Plan {
    pub(super) code: u16,
    /// What is dialled before a national number within the country, separated by spaces, the
    /// longest first.
    trunks: &'static str,
    /// Bit `n`: there are national numbers of `n` digits.
    lengths: u16,
}

pub(super) const fn row(id: &'static str, plan: Plan, exits: &'static str, bare: u16) -> Row {
    Row { id, plan, exits, bare }
}

pub(super) const fn plan(code: u16, trunks: &'static str, lengths: u16) -> Plan {
    Plan { code, trunks, lengths }
}

impl Plan {
    pub(super) fn trunks(&self) -> impl Iterator<Item = &'static str> {
        words(self.trunks)
    }

    /// Whether a `0` before a national number is dialled within the country only.
    pub(super) fn drops_zero(&self) -> bool {
        self.trunks().any(|trunk| trunk == "0")
    }

    /// Whether there are national numbers as long as this.
    pub(super) const fn has_length(&self, national: &str) -> bool {
        has(self.lengths, national.len())
    }
}

pub(super) const fn has(lengths: u16, length: usize) -> bool {
    length < 16 && lengths >> length & 1 == 1
}

pub(super) fn words(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.split(' ').filter(|word| !word.is_empty())
}
