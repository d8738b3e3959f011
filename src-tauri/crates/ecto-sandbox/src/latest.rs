//! A list that keeps the latest of what happened.

use std::collections::VecDeque;

/// How much is kept: more than a test asks for, and little enough for a sandbox that runs for days.
const MOST: usize = 1_000;

/// The latest of what happened, oldest first.
#[derive(Debug)]
pub(crate) struct Latest<T> {
    kept: VecDeque<T>,
    forgotten: usize,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self {
            kept: VecDeque::new(),
            forgotten: 0,
        }
    }
}

impl<T> Latest<T> {
    /// Adds one and returns its place, which it keeps.
    pub fn add(&mut self, one: T) -> usize {
        if self.kept.len() == MOST {
            self.kept.pop_front();
            self.forgotten += 1;
        }
        self.kept.push_back(one);
        self.forgotten + self.kept.len() - 1
    }

    /// What has this place, unless it is forgotten.
    pub fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.kept.get_mut(place.checked_sub(self.forgotten)?)
    }

    /// All that is kept, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.kept.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_stay_and_the_oldest_goes() {
        let mut latest = Latest::default();
        for number in 0..=MOST {
            assert_eq!(latest.add(number), number);
        }
        assert_eq!(latest.iter().next(), Some(&1));
        assert_eq!(latest.iter().count(), MOST);
        assert_eq!(latest.get_mut(0), None);
        assert_eq!(latest.get_mut(MOST), Some(&mut MOST.clone()));
    }
}
