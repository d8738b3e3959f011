//! Reads an HTTP/1.1 answer as its bytes arrive.

use anyhow::{Context as _, Result, bail};

/// An answer, as far as it has arrived.
#[derive(Debug, Default)]
pub(super) struct Answer {
    unread: Vec<u8>,
    part: Part,
    /// Its status; 0 until the head is there.
    pub status: u16,
    /// What has arrived of the body, without the framing.
    pub body: Vec<u8>,
    /// Whether the other side closes the connection after it.
    pub closes: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    #[default]
    Head,
    /// So many bytes are still to come.
    Length(usize),
    ChunkSize,
    Chunk(usize),
    Trailer,
    Whole,
}

impl Answer {
    /// Takes bytes that arrived; says whether the answer is whole.
    pub fn take(&mut self, bytes: &[u8]) -> Result<bool> {
        self.unread.extend_from_slice(bytes);
        let mut at = 0;
        loop {
            let rest = self.unread.get(at..).unwrap_or_default();
            let Some((used, next)) = self.part.step(rest)? else {
                break;
            };
            match (self.part, next) {
                (Part::Head, _) => {
                    let head = Head::read(rest.get(..used).unwrap_or_default())?;
                    self.status = head.status;
                    self.closes = head.closes;
                    self.part = head.body;
                }
                (Part::Length(_) | Part::Chunk(_), next) => {
                    let data = rest.get(..used).unwrap_or_default().to_vec();
                    self.body.extend_from_slice(&data);
                    self.part = next;
                }
                (Part::ChunkSize | Part::Trailer | Part::Whole, next) => self.part = next,
            }
            at += used;
            if self.part == Part::Whole {
                break;
            }
        }
        self.unread.drain(..at);
        let whole = self.part == Part::Whole;
        if whole && !self.unread.is_empty() {
            bail!("bytes after the end of an answer");
        }
        Ok(whole)
    }

    /// Makes ready for the next answer.
    pub fn reset(&mut self) {
        self.unread.clear();
        self.body.clear();
        self.part = Part::Head;
        self.status = 0;
        self.closes = false;
    }
}

impl Part {
    /// How many of these bytes belong to this part, and what comes after them; `None` where more have to arrive first.
    fn step(self, bytes: &[u8]) -> Result<Option<(usize, Self)>> {
        let line = || bytes.windows(2).position(|pair| pair == b"\r\n");
        Ok(match self {
            Self::Head => bytes
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
                .map(|end| (end + 4, Self::Whole)),
            Self::Length(0) => Some((0, Self::Whole)),
            Self::Length(_) | Self::Chunk(_) if bytes.is_empty() => None,
            Self::Length(left) => {
                let used = left.min(bytes.len());
                Some((used, Self::Length(left - used)))
            }
            Self::ChunkSize => match line() {
                None => None,
                // The line end after a chunk.
                Some(0) => Some((2, Self::ChunkSize)),
                Some(end) => {
                    let text = std::str::from_utf8(bytes.get(..end).unwrap_or_default())?;
                    let digits = text.split(';').next().unwrap_or_default().trim();
                    let size = usize::from_str_radix(digits, 16).context("no size of a chunk")?;
                    let next = if size == 0 {
                        Self::Trailer
                    } else {
                        Self::Chunk(size)
                    };
                    Some((end + 2, next))
                }
            },
            Self::Chunk(left) => {
                let used = left.min(bytes.len());
                let next = if used == left {
                    Self::ChunkSize
                } else {
                    Self::Chunk(left - used)
                };
                Some((used, next))
            }
            Self::Trailer => line().map(|end| {
                let next = if end == 0 { Self::Whole } else { Self::Trailer };
                (end + 2, next)
            }),
            Self::Whole => None,
        })
    }
}

struct Head {
    status: u16,
    closes: bool,
    body: Part,
}

impl Head {
    fn read(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).context("a head that is no text")?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 "))
            .and_then(|rest| rest.get(..3))
            .context("no status line")?
            .parse()?;
        let mut head = Self {
            status,
            closes: false,
            body: Part::Length(0),
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                head.body = Part::Length(value.parse()?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                head.body = Part::ChunkSize;
            } else if name.eq_ignore_ascii_case("connection") {
                head.closes = value.eq_ignore_ascii_case("close");
            }
        }
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    const CHUNKED: &str = "HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nb;x\r\n over there\r\n0\r\nt: 1\r\n\r\n";

    #[test]
    fn an_answer_is_the_same_however_its_bytes_are_cut() {
        for (text, status, body, closes) in [
            (PLAIN, 200, "hello", true),
            (CHUNKED, 201, "hello over there", false),
        ] {
            for step in 1..=text.len() {
                let mut answer = Answer::default();
                let pieces: Vec<&[u8]> = text.as_bytes().chunks(step).collect();
                for (number, piece) in (1..).zip(&pieces) {
                    let whole = answer.take(piece).unwrap();
                    assert_eq!(whole, number == pieces.len(), "{step}");
                }
                assert_eq!(answer.status, status);
                assert_eq!(answer.closes, closes);
                assert_eq!(String::from_utf8_lossy(&answer.body), body);
            }
        }
    }

    #[test]
    fn what_follows_an_answer_unasked_is_noticed() {
        assert!(
            Answer::default()
                .take(format!("{PLAIN}HTTP").as_bytes())
                .is_err()
        );
    }

    #[test]
    fn one_is_read_after_the_other() {
        let mut answer = Answer::default();
        assert!(answer.take(PLAIN.as_bytes()).unwrap());
        answer.reset();
        assert!(answer.take(CHUNKED.as_bytes()).unwrap());
        assert_eq!(answer.status, 201);
    }
}
