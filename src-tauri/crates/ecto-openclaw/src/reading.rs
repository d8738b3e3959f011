//! One look at everything that OpenClaw has on the disk.

use std::path::PathBuf;

use ecto_core::cause::{Cause, ConfigProblem};
use sha2::{Digest, Sha256};

use crate::config::{Config, shown};
use crate::environment::Environment;
use crate::needs::Effective;
use crate::place::Place;
use crate::token::ProviderAnswers;

/// What one look at the disk found.
#[derive(Debug)]
pub(crate) enum Reading {
    /// OpenClaw is not on this machine.
    Missing {
        /// Where it would be.
        files: Vec<PathBuf>,
    },
    /// It is here and cannot be used.
    Refused { place: Box<Place>, cause: Cause },
    /// It is here and can be used.
    Usable(Box<Usable>),
}

/// A configuration that can be used, possibly after some keys were set.
#[derive(Debug)]
pub(crate) struct Usable {
    pub place: Place,
    pub config: Config,
    pub effective: Effective,
}

impl Reading {
    /// Looks. Blocks on the disk, and on a secret provider where the token stands in one.
    pub fn take(environment: &Environment, answers: &ProviderAnswers) -> Self {
        let place = Place::find(environment);
        if place.is_missing() {
            let programs = environment
                .program_folders
                .iter()
                .map(|folder| folder.join("openclaw"));
            let files = std::iter::once(place.config).chain(programs).collect();
            return Self::Missing { files };
        }
        if place.config.symlink_metadata().is_err() {
            let cause = Cause::ConfigUnusable {
                path: shown(&place.config),
                problem: ConfigProblem::Unreadable {
                    detail: "there is no such file yet; `openclaw onboard` makes it".into(),
                },
            };
            return Self::refused(place, cause);
        }
        let config = match Config::read(&place) {
            Ok(config) => config,
            Err(cause) => return Self::refused(place, cause),
        };
        match Effective::read(&place, &config, answers) {
            Ok(effective) => Self::Usable(Box::new(Usable {
                place,
                config,
                effective,
            })),
            Err(cause) => Self::refused(place, cause),
        }
    }

    fn refused(place: Place, cause: Cause) -> Self {
        Self::Refused {
            place: Box::new(place),
            cause,
        }
    }

    /// Where it was looked, and the files that were read.
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Missing { files } => files.clone(),
            Self::Refused { place, .. } => vec![place.config.clone(), place.state.join(".env")],
            Self::Usable(usable) => usable
                .config
                .files()
                .flat_map(|file| [file.named.clone(), file.real.clone()])
                .chain([usable.place.state.join(".env")])
                .collect(),
        }
    }
}

impl Usable {
    /// A digest of everything in the configuration that a proof rests on.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for key in [
            &["gateway", "mode"][..],
            &["gateway", "bind"],
            &["gateway", "auth"],
            &["gateway", "http"],
            &["gateway", "tailscale"],
            &["gateway", "trustedProxies"],
            &["hooks", "enabled"],
            &["hooks", "path"],
            &["hooks", "token"],
        ] {
            let value = self.config.get(key).map(ToString::to_string);
            hasher.update(value.unwrap_or_default().as_bytes());
            hasher.update([0]);
        }
        hasher.finalize().into()
    }
}
