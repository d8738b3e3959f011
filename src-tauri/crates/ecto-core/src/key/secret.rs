//! The secret itself: how it is made, and what may be shown of it.

use data_encoding::BASE64URL_NOPAD;
use rand::TryRng;
use secrecy::{ExposeSecret, SecretString};

/// Begins every key, so that people and secret scanners know what it is.
pub const PREFIX: &str = "ecto_";

const SECRET_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;

/// The randomness of the system failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's random generator failed")]
pub struct NoRandomness;

/// Makes a new key: [`PREFIX`], then base64url of 32 random bytes and the first 4 bytes of their checksum (CRC-32 of
/// prefix and bytes, big endian), 53 characters in all.
pub fn make_key<R: TryRng>(random: &mut R) -> Result<SecretString, NoRandomness> {
    let mut bytes = [0u8; SECRET_BYTES + CHECKSUM_BYTES];
    random
        .try_fill_bytes(&mut bytes[..SECRET_BYTES])
        .map_err(|_| NoRandomness)?;
    let sum = checksum(&bytes[..SECRET_BYTES]);
    bytes[SECRET_BYTES..].copy_from_slice(&sum);
    let mut text = String::with_capacity(PREFIX.len() + 48);
    text.push_str(PREFIX);
    BASE64URL_NOPAD.encode_append(&bytes, &mut text);
    Ok(SecretString::from(text))
}

/// Makes a gateway token: base64url of 32 random bytes, 43 characters.
pub fn make_gateway_token<R: TryRng>(random: &mut R) -> Result<SecretString, NoRandomness> {
    let mut bytes = [0u8; SECRET_BYTES];
    random
        .try_fill_bytes(&mut bytes)
        .map_err(|_| NoRandomness)?;
    Ok(SecretString::from(BASE64URL_NOPAD.encode(&bytes)))
}

/// Whether this is a key as [`make_key`] makes them: a mistyped one is not.
pub fn is_well_formed(key: &str) -> bool {
    let Some(body) = key.strip_prefix(PREFIX) else {
        return false;
    };
    let Ok(bytes) = BASE64URL_NOPAD.decode(body.as_bytes()) else {
        return false;
    };
    bytes.len() == SECRET_BYTES + CHECKSUM_BYTES
        && checksum(&bytes[..SECRET_BYTES]) == bytes[SECRET_BYTES..]
}

/// What may be shown of a key: the prefix and its last four characters.
pub fn hint(key: &SecretString) -> String {
    let text = key.expose_secret();
    let tail: String = text
        .chars()
        .rev()
        .take(4)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    format!("{PREFIX}…{tail}")
}

fn checksum(secret: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(PREFIX.as_bytes());
    hasher.update(secret);
    hasher.finalize().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn key(seed: u64) -> String {
        make_key(&mut StdRng::seed_from_u64(seed))
            .unwrap()
            .expose_secret()
            .to_owned()
    }

    #[test]
    fn a_key_has_the_written_form() {
        let key = key(1);
        assert!(key.starts_with("ecto_"));
        assert_eq!(key.len(), 53);
        assert!(is_well_formed(&key));
    }

    #[test]
    fn a_hint_shows_four_characters() {
        let key = key(2);
        let shown = hint(&SecretString::from(key.clone()));
        assert_eq!(shown, format!("ecto_…{}", &key[key.len() - 4..]));
    }

    proptest! {
        #[test]
        fn one_wrong_character_is_noticed(seed in any::<u64>(), place in 5usize..53, other in "[A-Za-z0-9_-]") {
            let key = key(seed);
            let mut mistyped = key.clone();
            mistyped.replace_range(place..=place, &other);
            prop_assert_eq!(is_well_formed(&mistyped), mistyped == key);
        }

        #[test]
        fn anything_else_is_not_a_key(text in ".{0,80}") {
            prop_assert!(!is_well_formed(&text));
        }
    }
}
