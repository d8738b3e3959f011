//! What a person allowed beside what the guard always offers: kept in the file `routes.json`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ecto_core::cause::Cause;
use ecto_core::key::Route;
use ecto_core::offer::{MOST_ORIGINS, Offer, Origin};
use serde::{Deserialize, Serialize};

/// The version of the file. One that is not known is not followed.
const VERSION: u32 = 1;

/// A larger file is not read, in bytes.
const SIZE_LIMIT: u64 = 64 * 1024;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    offer: Offer,
}

/// One thing that a person allows or forbids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// An optional route.
    Route(Route),
    /// Calls from the pages of this origin.
    Origin(Origin),
}

/// What is offered, and the file that keeps it.
#[derive(Debug)]
pub struct Offers {
    path: PathBuf,
    present: Mutex<Offer>,
    turn: tokio::sync::Mutex<()>,
}

impl Offers {
    /// Reads the file in this folder, which must exist. Whatever cannot be read or understood means that nothing optional
    /// is offered, and is put aside as `routes.json.bad`.
    pub fn in_folder(folder: &Path) -> Self {
        let path = folder.join("routes.json");
        let offer = match read(&path) {
            Ok(offer) => offer,
            Err(fault) => {
                tracing::warn!(%fault, "the allowed routes cannot be read, so there are none");
                let aside = path.with_extension("json.bad");
                if let Err(fault) = std::fs::rename(&path, aside) {
                    tracing::warn!(%fault, "the unreadable routes could not be put aside");
                }
                Offer::default()
            }
        };
        Self {
            path,
            present: Mutex::new(offer),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Waits until nobody else chooses. Held until the guard has heard what was chosen.
    pub async fn take_turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// What is offered now.
    pub fn present(&self) -> Offer {
        self.lock().clone()
    }

    /// Allows or forbids one thing, and gives back what is offered from now on. What is allowed is stored before it
    /// counts; what is forbidden counts also where that cannot be stored.
    pub fn choose(&self, choice: Choice, is_allowed: bool) -> Result<Offer, Cause> {
        let mut present = self.lock();
        let mut offer = present.clone();
        match choice {
            Choice::Route(route) if !route.is_optional() => {
                return Err(Cause::RouteAlwaysOffered { route });
            }
            Choice::Route(route) if is_allowed => _ = offer.routes.insert(route),
            Choice::Route(route) => _ = offer.routes.remove(&route),
            Choice::Origin(origin) if is_allowed => _ = offer.origins.insert(origin),
            Choice::Origin(origin) => _ = offer.origins.remove(&origin),
        }
        if offer.origins.len() > MOST_ORIGINS {
            return Err(Cause::TooManyOrigins {
                limit: MOST_ORIGINS as u64,
            });
        }
        let stored = if offer == *present {
            Ok(())
        } else {
            write(&self.path, &offer)
        };
        if stored.is_ok() || !is_allowed {
            present.clone_from(&offer);
        }
        match stored {
            Ok(()) => Ok(offer),
            Err(fault) => Err(Cause::OfferNotStored {
                detail: fault.to_string().into(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Offer> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> io::Result<Offer> {
    let bytes = match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > SIZE_LIMIT => {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(_) => std::fs::read(path)?,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(Offer::default()),
        Err(fault) => return Err(fault),
    };
    let document: Document = serde_json::from_slice(&bytes)?;
    if document.version != VERSION {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(document.offer)
}

/// Puts it in the file's place, so that a crash or a full disk leaves the old one or the new.
fn write(path: &Path, offer: &Offer) -> io::Result<()> {
    let document = Document {
        version: VERSION,
        offer: offer.clone(),
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut unfinished = tempfile::NamedTempFile::new_in(folder)?;
    unfinished.write_all(&serde_json::to_vec_pretty(&document)?)?;
    unfinished.as_file().sync_all()?;
    unfinished.persist(path)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_chosen_is_there_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let offers = Offers::in_folder(folder.path());
        assert_eq!(offers.present(), Offer::default());
        let origin = Choice::Origin("https://app.example".parse().unwrap());
        offers.choose(Choice::Route(Route::Hooks), true).unwrap();
        let now = offers.choose(origin.clone(), true).unwrap();
        assert!(now.has(Route::Hooks) && now.origins.len() == 1);
        assert_eq!(Offers::in_folder(folder.path()).present(), now);
        offers.choose(Choice::Route(Route::Hooks), false).unwrap();
        offers.choose(origin, false).unwrap();
        assert_eq!(Offers::in_folder(folder.path()).present(), Offer::default());
    }

    #[test]
    fn what_cannot_be_chosen_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let offers = Offers::in_folder(folder.path());
        for is_allowed in [true, false] {
            let fault = offers.choose(Choice::Route(Route::Chat), is_allowed);
            assert!(matches!(
                fault,
                Err(Cause::RouteAlwaysOffered { route: Route::Chat })
            ));
        }
        let origin =
            |number: usize| Choice::Origin(format!("https://app{number}.example").parse().unwrap());
        for number in 0..MOST_ORIGINS {
            offers.choose(origin(number), true).unwrap();
        }
        let fault = offers.choose(origin(MOST_ORIGINS), true);
        assert!(matches!(fault, Err(Cause::TooManyOrigins { limit: 32 })));
        assert_eq!(offers.present().origins.len(), MOST_ORIGINS);
    }

    #[test]
    fn what_cannot_be_stored_is_forbidden_and_not_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let offers = Offers::in_folder(folder.path());
        let embeddings = Choice::Route(Route::Embeddings);
        offers.choose(embeddings.clone(), true).unwrap();
        drop(folder);
        let fault = offers.choose(embeddings, false);
        assert!(matches!(fault, Err(Cause::OfferNotStored { .. })));
        assert!(!offers.present().has(Route::Embeddings));
        let fault = offers.choose(Choice::Route(Route::Hooks), true);
        assert!(matches!(fault, Err(Cause::OfferNotStored { .. })));
        assert!(!offers.present().has(Route::Hooks));
    }

    #[test]
    fn a_file_that_is_not_understood_allows_nothing_and_is_put_aside() {
        for text in [
            "",
            "{",
            r#"{"version":2,"offer":{"routes":["hooks"],"origins":[]}}"#,
            r#"{"version":1,"offer":{"routes":["hooks"],"origins":["*"]}}"#,
            r#"{"version":1,"offer":{"routes":["hooks"],"origins":[]},"until":1}"#,
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("routes.json"), text).unwrap();
            let offers = Offers::in_folder(folder.path());
            assert_eq!(offers.present(), Offer::default(), "{text}");
            let aside = std::fs::read_to_string(folder.path().join("routes.json.bad")).unwrap();
            assert_eq!(aside, text);
        }
    }
}
