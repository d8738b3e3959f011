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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use proptest::prelude::*;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    proptest! {
        #[test]
        fn what_is_taken_is_the_beginning_of_what_was_given(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1000), 1..5),
            taken in 1usize..4000,
        ) {
            let whole = parts.concat();
            prop_assume!(!whole.is_empty());
            let parts: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let arrived = runtime.block_on(async {
                let (mut near, mut far) = tokio::io::duplex(taken);
                let write = poll_fn(|context| poll_write_together(Pin::new(&mut near), context, &parts));
                let written = write.await.unwrap();
                drop(near);
                let mut arrived = Vec::new();
                far.read_to_end(&mut arrived).await.unwrap();
                assert_eq!(arrived.len(), written);
                arrived
            });
            prop_assert!(!arrived.is_empty());
            prop_assert_eq!(&arrived[..], &whole[..arrived.len()]);
        }
    }
}
