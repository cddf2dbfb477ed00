//! What is wrong: all of it counted, the first of it told.

/// Findings that are told one by one.
const TOLD: usize = 5;

/// What is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    count: u64,
    told: Vec<String>,
}

impl Findings {
    /// Adds one.
    pub(super) fn add(&mut self, what: String) {
        self.count += 1;
        if self.told.len() < TOLD {
            self.told.push(what);
        }
    }

    /// Adds those of another.
    pub(super) fn append(&mut self, other: Self) {
        self.count += other.count;
        let room = TOLD - self.told.len();
        self.told.extend(other.told.into_iter().take(room));
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first of them.
    pub fn told(&self) -> &[String] {
        &self.told
    }
}
