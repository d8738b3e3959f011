//! How much memory everything under way may take up together, so that the guard sheds load before it grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is left of it. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Room(Arc<AtomicUsize>);

impl Room {
    /// All of `bytes` is free.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    /// Takes nothing yet.
    pub fn nothing(&self) -> Taken {
        Taken {
            room: self.clone(),
            bytes: 0,
        }
    }

    /// Takes as much, where it is free.
    pub fn take(&self, bytes: usize) -> Option<Taken> {
        let mut taken = self.nothing();
        taken.grow_to(bytes).then_some(taken)
    }
}

/// What is taken of a [`Room`], until it is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    room: Room,
    bytes: usize,
}

impl Taken {
    /// Takes more, up to `bytes` in all. Where that much is not free, nothing changes.
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return true;
        }
        let took = self
            .room
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
                free.checked_sub(more)
            });
        if took.is_ok() {
            self.bytes = bytes;
        }
        took.is_ok()
    }

    /// Gives everything back.
    pub fn give_back(&mut self) {
        if self.bytes > 0 {
            self.room.0.fetch_add(self.bytes, Ordering::Relaxed);
            self.bytes = 0;
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again_and_never_more() {
        let room = Room::new(10);
        let mut first = room.take(6).unwrap();
        assert!(room.take(5).is_none());
        assert!(!first.grow_to(11));
        assert!(first.grow_to(8) && first.grow_to(3));
        let second = room.take(2).unwrap();
        assert!(room.take(1).is_none());
        first.give_back();
        first.give_back();
        assert!(room.take(9).is_none());
        drop((first, second));
        assert!(room.take(10).is_some());
    }
}
