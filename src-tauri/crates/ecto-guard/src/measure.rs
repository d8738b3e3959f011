//! What is measured of the guard from within.

use ecto_core::Timestamp;
use ecto_core::key::GuardKey;

use crate::key::KnownKeys;

/// The keys of a lock, to be looked up without a request.
#[derive(Debug)]
pub struct Lookup(KnownKeys);

impl Lookup {
    /// Of these keys.
    pub fn new(keys: Vec<GuardKey>) -> Self {
        Self(KnownKeys::default().replace(keys))
    }

    /// Whether this is one of them: the same search as for a request.
    pub fn knows(&self, presented: &[u8]) -> bool {
        self.0.find(presented, Timestamp::UNIX_EPOCH).is_some()
    }
}
