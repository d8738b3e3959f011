//! The body of an answer: how much of what was read belongs to it.

use bytes::{Bytes, BytesMut};

use super::head::Unreadable;

/// The most hexadecimal digits of a chunk's size: fewer than would overflow.
const MOST_DIGITS: u8 = 15;
/// The longest trailer, in bytes.
const LONGEST_TRAILER: usize = 16 * 1024;

/// How the rest of a body is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// So many bytes are left.
    Left(u64),
    /// It ends with the connection.
    UntilClose,
    /// In chunks.
    Chunks(Place),
    /// It has ended.
    Ended,
}

/// Where in the chunks it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Size { size: u64, digits: u8 },
    SizeLineFeed(u64),
    Data(u64),
    DataReturn,
    DataLineFeed,
    TrailerStart(usize),
    Trailer(usize),
    TrailerLineFeed(usize),
    EndLineFeed,
}

const SIZE: Place = Place::Size { size: 0, digits: 0 };

impl Measure {
    /// In chunks, from the first.
    pub const fn chunked() -> Self {
        Self::Chunks(SIZE)
    }

    /// Whether nothing more comes.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Left(0) | Self::Ended)
    }

    /// Takes what comes next of the body from what was read; `None` where there is nothing of it.
    pub fn take(&mut self, read: &mut BytesMut) -> Result<Option<Bytes>, Unreadable> {
        while !read.is_empty() {
            match self {
                Self::Ended | Self::Left(0) => return Ok(None),
                Self::UntilClose => return Ok(Some(read.split().freeze())),
                Self::Left(left) => return Ok(Some(split(read, left))),
                Self::Chunks(Place::Data(left)) => {
                    let data = split(read, left);
                    if *left == 0 {
                        *self = Self::Chunks(Place::DataReturn);
                    }
                    return Ok(Some(data));
                }
                Self::Chunks(place) => {
                    let byte = read.first().copied().unwrap_or_default();
                    let _ = read.split_to(1);
                    *self = match after(*place, byte)? {
                        Some(place) => Self::Chunks(place),
                        None => Self::Ended,
                    };
                }
            }
        }
        Ok(None)
    }
}

fn split(read: &mut BytesMut, left: &mut u64) -> Bytes {
    let length = usize::try_from(*left).map_or(read.len(), |left| left.min(read.len()));
    *left -= length as u64;
    read.split_to(length).freeze()
}

/// Where the byte leads; `None` at the end.
fn after(place: Place, byte: u8) -> Result<Option<Place>, Unreadable> {
    let next = match (place, byte) {
        (Place::Size { size, digits: 1.. }, b'\r') => Place::SizeLineFeed(size),
        (Place::Size { size, digits }, _) if digits < MOST_DIGITS => {
            let digit = char::from(byte).to_digit(16).ok_or(Unreadable)?;
            Place::Size {
                size: size * 16 + u64::from(digit),
                digits: digits + 1,
            }
        }
        (Place::SizeLineFeed(0), b'\n') => Place::TrailerStart(0),
        (Place::SizeLineFeed(size), b'\n') => Place::Data(size),
        (Place::DataReturn, b'\r') => Place::DataLineFeed,
        (Place::DataLineFeed, b'\n') => SIZE,
        (Place::TrailerStart(_), b'\r') => Place::EndLineFeed,
        (Place::Trailer(seen), b'\r') => Place::TrailerLineFeed(seen),
        (Place::TrailerStart(seen) | Place::Trailer(seen), _)
            if seen < LONGEST_TRAILER && byte != b'\n' && byte != 0 =>
        {
            Place::Trailer(seen + 1)
        }
        (Place::TrailerLineFeed(seen), b'\n') => Place::TrailerStart(seen),
        (Place::EndLineFeed, b'\n') => return Ok(None),
        (_, _) => return Err(Unreadable),
    };
    Ok(Some(next))
}
