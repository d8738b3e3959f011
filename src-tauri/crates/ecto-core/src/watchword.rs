//! The word by which the guard knows Ecto's own check from outside.

use data_encoding::HEXLOWER;
use rand::TryRng;
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroizing};

use crate::key::NoRandomness;

/// The header that carries it.
pub const HEADER: &str = "x-ecto-check";

/// What the check from outside shows, so that the guard takes it for no caller: it is not written down, and no limit of a
/// key or an address counts it. It opens nothing. Made anew by each process, and travels within the public address's TLS.
#[derive(Clone, Debug)]
pub struct Watchword(SecretString);

impl Watchword {
    /// Makes one, of 32 random bytes.
    pub fn make<R: TryRng>(random: &mut R) -> Result<Self, NoRandomness> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        random
            .try_fill_bytes(&mut *bytes)
            .map_err(|_| NoRandomness)?;
        Ok(Self(HEXLOWER.encode(&*bytes).into()))
    }

    /// The word: lower-case hexadecimal.
    pub fn word(&self) -> &str {
        self.0.expose_secret()
    }
}
