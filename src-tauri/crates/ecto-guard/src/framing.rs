//! Where requests begin and end in what a client sends, in the strictest reading: every byte is followed before hyper
//! sees it, and what two servers might cut up differently is refused. hyper takes both lengths, bare line feeds, folded
//! lines in part, chunk extensions and fragments (1.12); none of them comes from an honest client, and none gets past
//! this room.

use ecto_core::refusal::Refusal;

/// The most fields of a head, and of a trailer. hyper takes no more (1.12).
const MOST_FIELDS: usize = 100;

/// The longest method, in bytes. The longest registered one has 17.
const LONGEST_METHOD: usize = 32;

/// The longest name that means something here, in bytes: `transfer-encoding`.
const LONGEST_NAME: usize = 17;

/// The most hexadecimal digits of a chunk's size: fewer than would overflow.
const MOST_CHUNK_DIGITS: usize = 15;

const VERSION: &[u8] = b"HTTP/1.1";

/// What goes wrong, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Breach {
    /// What is said of it.
    pub refusal: Refusal,
    /// How many of the bytes were good.
    pub good: usize,
    /// Whether it is in the body of a request that hyper already has.
    pub in_body: bool,
}

/// Follows the bytes of one connection.
#[derive(Debug)]
pub(crate) struct Framing {
    head_bytes: usize,
    /// Bytes of this head, or of this trailer.
    seen: usize,
    fields: usize,
    place: Place,
    name: [u8; LONGEST_NAME],
    name_length: usize,
    length: Option<u64>,
    /// How much of `chunked` was read, where there is a `Transfer-Encoding`.
    coding: Option<usize>,
    is_chunked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Head,
    Trailer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Method(usize),
    TargetStart,
    Asterisk,
    Target,
    Version(usize),
    StartLineFeed,
    FieldStart(Part),
    Name(Part),
    ValueStart(Part, Field),
    Value(Part, Field),
    FieldLineFeed(Part),
    EndLineFeed(Part),
    Length(u64),
    ChunkSize { size: u64, digits: usize },
    ChunkSizeLineFeed(u64),
    Chunk(u64),
    ChunkEnd,
    ChunkEndLineFeed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Length,
    LengthEnded,
    Coding,
    CodingEnded,
    Other,
}

impl Place {
    fn is_in_body(self) -> bool {
        match self {
            Self::Method(_)
            | Self::TargetStart
            | Self::Asterisk
            | Self::Target
            | Self::Version(_)
            | Self::StartLineFeed
            | Self::FieldStart(Part::Head)
            | Self::Name(Part::Head)
            | Self::ValueStart(Part::Head, _)
            | Self::Value(Part::Head, _)
            | Self::FieldLineFeed(Part::Head)
            | Self::EndLineFeed(Part::Head) => false,
            Self::FieldStart(Part::Trailer)
            | Self::Name(Part::Trailer)
            | Self::ValueStart(Part::Trailer, _)
            | Self::Value(Part::Trailer, _)
            | Self::FieldLineFeed(Part::Trailer)
            | Self::EndLineFeed(Part::Trailer)
            | Self::Length(_)
            | Self::ChunkSize { .. }
            | Self::ChunkSizeLineFeed(_)
            | Self::Chunk(_)
            | Self::ChunkEnd
            | Self::ChunkEndLineFeed => true,
        }
    }
}

/// Which bytes belong to a kind.
type Kind = [bool; 256];

/// RFC 9110, 5.6.2.
const TOKEN: Kind = kind(b'!', b"\"(),/:;<=>?@[\\]{}");

/// What may stand in a target: what a URI may have, and what browsers leave as it is in a query. No fragment, no
/// backslash, nothing beyond ASCII.
const TARGET: Kind = kind(b'!', b"\"#<>\\^`");

/// Everything from `first` to `~`, but for `others`.
const fn kind(first: u8, others: &[u8]) -> Kind {
    let mut kind = [false; 256];
    let mut byte = first;
    while byte <= b'~' {
        kind[byte as usize] = true;
        byte += 1;
    }
    let mut other = 0;
    while other < others.len() {
        kind[others[other] as usize] = false;
        other += 1;
    }
    kind
}

fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

fn is_target(byte: u8) -> bool {
    TARGET[usize::from(byte)]
}

fn is_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

impl Framing {
    /// Follows a connection from its start. A head, and a trailer, has at most `head_bytes`.
    pub fn new(head_bytes: usize) -> Self {
        Self {
            head_bytes,
            seen: 0,
            fields: 0,
            place: Place::Method(0),
            name: [0; LONGEST_NAME],
            name_length: 0,
            length: None,
            coding: None,
            is_chunked: false,
        }
    }

    /// How many bytes there are of a head that is on its way.
    pub fn head_so_far(&self) -> usize {
        if self.place.is_in_body() {
            return 0;
        }
        self.seen
    }

    /// Whether what comes next belongs to another request, as far as anything came.
    pub fn is_between_requests(&self) -> bool {
        self.place == Place::Method(0)
    }

    /// Takes what came next, up to the end of one request, and says how much that was. After a breach there is nothing
    /// more to follow.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<usize, Breach> {
        let mut good = 0;
        while let Some(rest) = bytes.get(good..).filter(|rest| !rest.is_empty()) {
            let place = self.place;
            match self.step(rest) {
                Ok(taken) => good += taken,
                Err(refusal) => {
                    return Err(Breach {
                        refusal,
                        good,
                        in_body: place.is_in_body(),
                    });
                }
            }
            if self.is_between_requests() {
                break;
            }
        }
        Ok(good)
    }

    /// Takes all of what came next.
    #[cfg(any(test, feature = "fuzz"))]
    pub fn follow_all(&mut self, bytes: &[u8]) -> Result<(), Breach> {
        let mut good = 0;
        while let Some(rest) = bytes.get(good..).filter(|rest| !rest.is_empty()) {
            match self.follow(rest) {
                Ok(taken) => good += taken,
                Err(breach) => {
                    let good = breach.good + good;
                    return Err(Breach { good, ..breach });
                }
            }
        }
        Ok(())
    }

    /// Takes at least one byte, and says how many.
    fn step(&mut self, rest: &[u8]) -> Result<usize, Refusal> {
        let Some(&byte) = rest.first() else {
            return Ok(0);
        };
        match self.place {
            Place::Length(left) => {
                let (taken, left) = skip(rest, left);
                self.place = if left == 0 {
                    self.begin_head()
                } else {
                    Place::Length(left)
                };
                return Ok(taken);
            }
            Place::Chunk(left) => {
                let (taken, left) = skip(rest, left);
                self.place = if left == 0 {
                    Place::ChunkEnd
                } else {
                    Place::Chunk(left)
                };
                return Ok(taken);
            }
            Place::ChunkSize { .. }
            | Place::ChunkSizeLineFeed(_)
            | Place::ChunkEnd
            | Place::ChunkEndLineFeed => {
                self.place = self.after_in_chunks(byte)?;
                return Ok(1);
            }
            Place::Value(_, Field::Other) => {
                let taken = self.count_of(rest, is_value);
                if taken > 0 {
                    self.seen += taken;
                    return Ok(taken);
                }
            }
            Place::Target => {
                let taken = self.count_of(rest, is_target);
                if taken > 0 {
                    self.seen += taken;
                    return Ok(taken);
                }
            }
            Place::Name(_) => {
                let taken = self.count_of(rest, is_token);
                if taken > 0 {
                    self.add_to_name(rest.get(..taken).unwrap_or_default());
                    self.seen += taken;
                    return Ok(taken);
                }
            }
            Place::Method(_)
            | Place::TargetStart
            | Place::Asterisk
            | Place::Version(_)
            | Place::StartLineFeed
            | Place::FieldStart(_)
            | Place::ValueStart(_, _)
            | Place::Value(_, Field::Length | Field::LengthEnded)
            | Place::Value(_, Field::Coding | Field::CodingEnded)
            | Place::FieldLineFeed(_)
            | Place::EndLineFeed(_) => {}
        }
        if self.seen >= self.head_bytes {
            return Err(Refusal::HeadTooLarge);
        }
        self.seen += 1;
        self.place = self.after_in_head(byte)?;
        Ok(1)
    }

    /// How many bytes of a kind come first, as far as a head may still go.
    fn count_of(&self, rest: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
        let room = self.head_bytes.saturating_sub(self.seen);
        let rest = rest.get(..room).unwrap_or(rest);
        let other = rest.iter().position(|byte| !belongs(*byte));
        other.unwrap_or(rest.len())
    }

    fn after_in_head(&mut self, byte: u8) -> Result<Place, Refusal> {
        let next = match (self.place, byte) {
            (Place::Method(1..), b' ') => Place::TargetStart,
            (Place::Method(length), _) if is_token(byte) && length < LONGEST_METHOD => {
                Place::Method(length + 1)
            }
            (Place::TargetStart, b'/') => Place::Target,
            (Place::TargetStart, b'*') => Place::Asterisk,
            (Place::Target | Place::Asterisk, b' ') => Place::Version(0),
            (Place::Version(at), b'\r') if at == VERSION.len() => Place::StartLineFeed,
            (Place::Version(at), _) if VERSION.get(at) == Some(&byte) => Place::Version(at + 1),
            (Place::Version(5..), b'0'..=b'9') => return Err(Refusal::VersionNotSupported),
            (Place::StartLineFeed, b'\n') => Place::FieldStart(Part::Head),
            (Place::FieldStart(part), b'\r') => Place::EndLineFeed(part),
            (Place::FieldStart(part), _) if is_token(byte) => {
                self.fields += 1;
                if self.fields > MOST_FIELDS {
                    return Err(Refusal::HeadTooLarge);
                }
                self.name_length = 0;
                self.add_to_name(&[byte]);
                Place::Name(part)
            }
            (Place::Name(part), b':') => Place::ValueStart(part, self.begin_field(part)?),
            (Place::ValueStart(part, field), b' ' | b'\t') => Place::ValueStart(part, field),
            (Place::ValueStart(part, field) | Place::Value(part, field), b'\r') => {
                self.end_field(field)?;
                Place::FieldLineFeed(part)
            }
            (Place::ValueStart(part, field) | Place::Value(part, field), _) if is_value(byte) => {
                Place::Value(part, self.add_to_value(field, byte)?)
            }
            (Place::FieldLineFeed(part), b'\n') => Place::FieldStart(part),
            (Place::EndLineFeed(Part::Trailer), b'\n') => self.begin_head(),
            (Place::EndLineFeed(Part::Head), b'\n') => self.begin_body(),
            (_, _) => return Err(Refusal::Malformed),
        };
        Ok(next)
    }

    fn after_in_chunks(&mut self, byte: u8) -> Result<Place, Refusal> {
        let next = match (self.place, byte) {
            (Place::ChunkSize { size, digits: 1.. }, b'\r') => Place::ChunkSizeLineFeed(size),
            (Place::ChunkSize { size, digits }, _) if digits < MOST_CHUNK_DIGITS => {
                let digit = char::from(byte).to_digit(16).ok_or(Refusal::Malformed)?;
                Place::ChunkSize {
                    size: size * 16 + u64::from(digit),
                    digits: digits + 1,
                }
            }
            (Place::ChunkSizeLineFeed(0), b'\n') => {
                self.seen = 0;
                self.fields = 0;
                Place::FieldStart(Part::Trailer)
            }
            (Place::ChunkSizeLineFeed(size), b'\n') => Place::Chunk(size),
            (Place::ChunkEnd, b'\r') => Place::ChunkEndLineFeed,
            (Place::ChunkEndLineFeed, b'\n') => Place::ChunkSize { size: 0, digits: 0 },
            (_, _) => return Err(Refusal::Malformed),
        };
        Ok(next)
    }

    fn add_to_name(&mut self, bytes: &[u8]) {
        let rest = self.name.get_mut(self.name_length..).unwrap_or_default();
        for (place, byte) in rest.iter_mut().zip(bytes) {
            *place = byte.to_ascii_lowercase();
        }
        self.name_length += bytes.len();
    }

    /// One length, or one coding, and not both: a trailer has neither.
    fn begin_field(&mut self, part: Part) -> Result<Field, Refusal> {
        let field = match self.name.get(..self.name_length) {
            Some(b"content-length") => Field::Length,
            Some(b"transfer-encoding") => Field::Coding,
            Some(_) | None => return Ok(Field::Other),
        };
        if part == Part::Trailer || self.length.is_some() || self.coding.is_some() {
            return Err(Refusal::Malformed);
        }
        if field == Field::Coding {
            self.coding = Some(0);
        }
        Ok(field)
    }

    fn add_to_value(&mut self, field: Field, byte: u8) -> Result<Field, Refusal> {
        let is_space = matches!(byte, b' ' | b'\t');
        match field {
            Field::Length if byte.is_ascii_digit() => {
                let digit = u64::from(byte - b'0');
                let length = self.length.unwrap_or(0).checked_mul(10);
                let length = length.and_then(|length| length.checked_add(digit));
                // The largest numbers mean something else in hyper (1.12).
                let length = length.filter(|length| *length < u64::MAX / 2);
                self.length = Some(length.ok_or(Refusal::Malformed)?);
                Ok(Field::Length)
            }
            Field::Length | Field::LengthEnded if is_space => Ok(Field::LengthEnded),
            Field::Coding => {
                let read = self.coding.unwrap_or(0);
                if is_space {
                    return Ok(Field::CodingEnded);
                }
                if b"chunked".get(read) != Some(&byte.to_ascii_lowercase()) {
                    return Err(Refusal::Malformed);
                }
                self.coding = Some(read + 1);
                Ok(Field::Coding)
            }
            Field::CodingEnded if is_space => Ok(Field::CodingEnded),
            Field::Other => Ok(Field::Other),
            Field::Length | Field::LengthEnded | Field::CodingEnded => Err(Refusal::Malformed),
        }
    }

    fn end_field(&mut self, field: Field) -> Result<(), Refusal> {
        match field {
            Field::Length | Field::LengthEnded => self.length.map(|_| ()).ok_or(Refusal::Malformed),
            Field::Coding | Field::CodingEnded => {
                self.is_chunked = self.coding == Some("chunked".len());
                if self.is_chunked {
                    Ok(())
                } else {
                    Err(Refusal::Malformed)
                }
            }
            Field::Other => Ok(()),
        }
    }

    fn begin_body(&mut self) -> Place {
        match self.length {
            Some(length @ 1..) => Place::Length(length),
            _ if self.is_chunked => Place::ChunkSize { size: 0, digits: 0 },
            Some(_) | None => self.begin_head(),
        }
    }

    fn begin_head(&mut self) -> Place {
        *self = Self::new(self.head_bytes);
        self.place
    }
}

fn skip(rest: &[u8], left: u64) -> (usize, u64) {
    let taken = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
    (taken, left.saturating_sub(taken as u64))
}

#[cfg(test)]
mod tests;
