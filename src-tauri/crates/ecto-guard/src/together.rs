//! Writing small parts as one: a system call for one buffer takes less time than one for several, and nearly every head
//! comes with a body that is smaller than it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// The most that is put together, in bytes. What is larger is not worth being copied.
const SMALL: usize = 2 * 1024;

/// Writes parts of which the first ones may be all that is taken.
pub(crate) fn poll_write_together<S: AsyncWrite>(
    stream: Pin<&mut S>,
    context: &mut Context<'_>,
    parts: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let parts_with_something = || parts.iter().filter(|part| !part.is_empty());
    let length: usize = parts.iter().map(|part| part.len()).sum();
    if length > SMALL || parts_with_something().nth(1).is_none() {
        return stream.poll_write_vectored(context, parts);
    }
    let mut whole = [0; SMALL];
    let mut filled = 0;
    for part in parts_with_something() {
        if let Some(place) = whole.get_mut(filled..filled + part.len()) {
            place.copy_from_slice(part);
        }
        filled += part.len();
    }
    stream.poll_write(context, whole.get(..filled).unwrap_or_default())
}
