//! What a person allowed beside what the guard always offers: kept in the file `routes.json`.

use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecto_core::cause::Cause;
use ecto_core::key::Route;
use ecto_core::offer::{MOST_ORIGINS, Offer, Origin};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::kept_file::KeptFile;

/// The version of the file. One that is not known is not followed.
const VERSION: u32 = 1;

/// The first pause before storing is tried again. Each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

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
    file: KeptFile,
    present: Mutex<Offer>,
    followed: tokio::sync::Mutex<Followed>,
    unstored: Notify,
}

/// How far what is offered was followed. Held for as long as a choice takes.
#[derive(Debug)]
struct Followed {
    stored: Offer,
    told: Offer,
}

impl Offers {
    /// Reads the file in this folder, which must exist. Whatever cannot be read or understood means that nothing optional
    /// is offered, and is put aside as `routes.json.bad`.
    pub fn in_folder(folder: &Path) -> Self {
        let file = KeptFile::in_folder(folder, "routes.json");
        let offer = read(&file).unwrap_or_else(|fault| {
            tracing::warn!(%fault, "the allowed routes cannot be read, so there are none");
            file.put_aside();
            Offer::default()
        });
        Self {
            file,
            followed: tokio::sync::Mutex::new(Followed {
                stored: offer.clone(),
                told: offer.clone(),
            }),
            present: Mutex::new(offer),
            unstored: Notify::new(),
        }
    }

    /// What is offered now.
    pub fn present(&self) -> Offer {
        self.lock().clone()
    }

    /// Allows or forbids one thing, has `tell` take it over, and gives back what is offered from now on. What is allowed
    /// is stored before it counts; what is forbidden counts before it is stored, and where that fails it is tried again.
    /// One choice comes after the other, so that the last one is what is told last.
    pub async fn choose<T: Future<Output = Result<(), Cause>>>(
        &self,
        choice: Choice,
        is_allowed: bool,
        tell: impl FnOnce(Offer) -> T,
    ) -> Result<Offer, Cause> {
        let mut followed = self.followed.lock().await;
        let offer = changed(&self.present(), choice, is_allowed)?;
        if is_allowed {
            self.store(&offer, &mut followed).await?;
        }
        self.lock().clone_from(&offer);
        let told = if followed.told == offer {
            Ok(())
        } else {
            tell(offer.clone()).await
        };
        if told.is_ok() {
            followed.told.clone_from(&offer);
        }
        let stored = self.store(&offer, &mut followed).await;
        if stored.is_err() {
            self.unstored.notify_one();
        }
        told.and(stored).map(|()| offer)
    }

    /// Stores what could not be stored at once, as soon as that goes. Goes on until it is dropped.
    pub async fn keep_storing(&self) {
        loop {
            self.unstored.notified().await;
            let mut pause = FIRST_PAUSE;
            loop {
                sleep(pause).await;
                let mut followed = self.followed.lock().await;
                let present = self.present();
                match self.store(&present, &mut followed).await {
                    Ok(()) => break,
                    Err(cause) => tracing::debug!(code = cause.code(), "still not stored"),
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    async fn store(&self, offer: &Offer, followed: &mut Followed) -> Result<(), Cause> {
        if followed.stored == *offer {
            return Ok(());
        }
        let document = Document {
            version: VERSION,
            offer: offer.clone(),
        };
        let file = self.file.clone();
        let write = move || file.replace(&serde_json::to_vec_pretty(&document)?);
        let written = tokio::task::spawn_blocking(write).await;
        let written = written.unwrap_or_else(|fault| Err(io::Error::other(fault)));
        written.map_err(|fault| Cause::OfferNotStored {
            path: self.file.path().display().to_string(),
            detail: fault.to_string().into(),
        })?;
        followed.stored.clone_from(offer);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Offer> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn changed(before: &Offer, choice: Choice, is_allowed: bool) -> Result<Offer, Cause> {
    let mut offer = before.clone();
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
    Ok(offer)
}

fn read(file: &KeptFile) -> io::Result<Offer> {
    let Some(bytes) = file.read()? else {
        return Ok(Offer::default());
    };
    let document: Document = serde_json::from_slice(&bytes)?;
    if document.version != VERSION {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(document.offer)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn choose(offers: &Offers, choice: Choice, is_allowed: bool) -> Result<Offer, Cause> {
        offers.choose(choice, is_allowed, async |_| Ok(())).await
    }

    #[tokio::test]
    async fn what_was_chosen_is_there_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let offers = Offers::in_folder(folder.path());
        assert_eq!(offers.present(), Offer::default());
        let origin = Choice::Origin("https://app.example".parse().unwrap());
        choose(&offers, Choice::Route(Route::Hooks), true)
            .await
            .unwrap();
        let now = choose(&offers, origin.clone(), true).await.unwrap();
        assert!(now.has(Route::Hooks) && now.origins.len() == 1);
        assert_eq!(Offers::in_folder(folder.path()).present(), now);
        choose(&offers, Choice::Route(Route::Hooks), false)
            .await
            .unwrap();
        choose(&offers, origin, false).await.unwrap();
        assert_eq!(Offers::in_folder(folder.path()).present(), Offer::default());
    }

    #[tokio::test]
    async fn what_cannot_be_chosen_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let offers = Offers::in_folder(folder.path());
        for is_allowed in [true, false] {
            let fault = choose(&offers, Choice::Route(Route::Chat), is_allowed).await;
            assert!(matches!(
                fault,
                Err(Cause::RouteAlwaysOffered { route: Route::Chat })
            ));
        }
        let origin =
            |number: usize| Choice::Origin(format!("https://app{number}.example").parse().unwrap());
        for number in 0..MOST_ORIGINS {
            choose(&offers, origin(number), true).await.unwrap();
        }
        let fault = choose(&offers, origin(MOST_ORIGINS), true).await;
        assert!(matches!(fault, Err(Cause::TooManyOrigins { limit: 32 })));
        assert_eq!(offers.present().origins.len(), MOST_ORIGINS);
    }

    #[tokio::test]
    async fn what_cannot_be_stored_is_forbidden_and_not_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let offers = Offers::in_folder(folder.path());
        let embeddings = Choice::Route(Route::Embeddings);
        choose(&offers, embeddings.clone(), true).await.unwrap();
        drop(folder);
        let fault = choose(&offers, embeddings, false).await;
        assert!(matches!(fault, Err(Cause::OfferNotStored { .. })));
        assert!(!offers.present().has(Route::Embeddings));
        let fault = choose(&offers, Choice::Route(Route::Hooks), true).await;
        assert!(matches!(fault, Err(Cause::OfferNotStored { .. })));
        assert!(!offers.present().has(Route::Hooks));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_forbidden_is_stored_as_soon_as_that_goes() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("state");
        std::fs::create_dir(&folder).unwrap();
        let offers = Offers::in_folder(&folder);
        let embeddings = Choice::Route(Route::Embeddings);
        choose(&offers, embeddings.clone(), true).await.unwrap();
        let aside = place.path().join("aside");
        std::fs::rename(&folder, &aside).unwrap();
        for _ in 0..2 {
            let fault = choose(&offers, embeddings.clone(), false).await;
            assert!(matches!(fault, Err(Cause::OfferNotStored { .. })));
        }
        let is_on_disk = || Offers::in_folder(&folder).present().has(Route::Embeddings);
        tokio::select! {
            () = offers.keep_storing() => {}
            () = async {
                sleep(LONGEST_PAUSE).await;
                std::fs::rename(&aside, &folder).unwrap();
                assert!(is_on_disk(), "not stored yet");
                sleep(2 * LONGEST_PAUSE).await;
                while is_on_disk() {
                    tokio::task::spawn_blocking(|| ()).await.unwrap();
                }
            } => {}
        }
    }

    #[tokio::test]
    async fn what_was_not_taken_over_is_told_again() {
        let folder = tempfile::tempdir().unwrap();
        let offers = Offers::in_folder(folder.path());
        let busy = || Cause::Internal {
            detail: "busy".into(),
        };
        let hooks = Choice::Route(Route::Hooks);
        let failed = offers.choose(hooks.clone(), true, async |_| Err(busy()));
        assert_eq!(failed.await, Err(busy()));
        let mut told = None;
        let again = offers.choose(hooks, true, async |offer| {
            told = Some(offer);
            Ok(())
        });
        assert!(again.await.unwrap().has(Route::Hooks));
        assert!(told.is_some_and(|offer| offer.has(Route::Hooks)));
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
