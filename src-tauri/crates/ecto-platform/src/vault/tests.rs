//! What the vaults promise, on a mock store and on real files.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use ecto_core::key;
use keyring_core::{CredentialStore, Entry, Error, mock};
use secrecy::{ExposeSecret, SecretString};

use super::*;
use crate::System;
use crate::private_file::PrivateFile;
use ecto_core::Timestamp;
use ecto_core::key::{EarlierSecret, Key, KeyDigest, KeyGrant, KeyRing};
use ecto_core::ports::VaultPlace;
use proptest::prelude::*;

fn secrets(keys: &[(&str, &str)]) -> KeyRing {
    KeyRing {
        keys: keys
            .iter()
            .map(|(name, secret)| Key {
                name: name.parse().unwrap(),
                ..Key::first(SecretString::from(*secret), None)
            })
            .collect(),
    }
}

fn shown(secrets: Option<KeyRing>) -> Vec<(String, String)> {
    let keys = secrets.into_iter().flat_map(|secrets| secrets.keys);
    keys.map(|key| (key.name.to_string(), key.secret.expose_secret().to_owned()))
        .collect()
}

fn pairs(keys: &[(&str, &str)]) -> Vec<(String, String)> {
    shown(Some(secrets(keys)))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

/// A store in memory that can be made to fail.
struct Store {
    store: Arc<mock::Store>,
    openings: Arc<AtomicU32>,
    closed: Arc<Mutex<bool>>,
}

impl Store {
    fn new() -> Self {
        let store = mock::Store::new().unwrap();
        Self {
            store,
            openings: Arc::default(),
            closed: Arc::default(),
        }
    }

    fn open(&self) -> OpenStore {
        let (store, openings, closed) = (
            Arc::clone(&self.store),
            Arc::clone(&self.openings),
            Arc::clone(&self.closed),
        );
        Arc::new(move || {
            openings.fetch_add(1, Ordering::SeqCst);
            if *closed.lock().unwrap() {
                return Err(Error::PlatformFailure(
                    "nobody owns org.freedesktop.secrets".into(),
                ));
            }
            let store: Arc<CredentialStore> = store.clone();
            Ok(store)
        })
    }

    fn close(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
    }

    fn item(&self, account: &str) -> Entry {
        let store: &CredentialStore = self.store.as_ref();
        store.build("Ecto", account, None).unwrap()
    }

    fn fail_next(&self, error: Error) {
        self.item("keys")
            .as_any()
            .downcast_ref::<mock::Cred>()
            .unwrap()
            .set_error(error);
    }
}

fn folders(apart: &Path) -> Folders {
    let value = apart.as_os_str().to_owned();
    // Not ECTO_HOME, so that the choice is made as it is for a person.
    Folders::locate(System::Linux, move |name| {
        (name == "HOME").then(|| value.clone())
    })
    .unwrap()
}

#[tokio::test]
async fn what_is_stored_in_the_keyring_comes_back_and_nothing_is_written_twice() {
    let store = Store::new();
    let vault = KeyringVault::new(store.open());
    assert!(vault.load().await.unwrap().is_none());
    vault
        .store(&secrets(&[("default", "one"), ("phone", "two")]))
        .await
        .unwrap();
    assert_eq!(
        shown(vault.load().await.unwrap()),
        pairs(&[("default", "one"), ("phone", "two")])
    );

    let before = store.item("keys").get_secret().unwrap();
    vault
        .store(&secrets(&[("default", "one"), ("phone", "two")]))
        .await
        .unwrap();
    assert_eq!(store.item("keys").get_secret().unwrap(), before);
    assert_eq!(store.openings.load(Ordering::SeqCst), 1);

    vault.erase().await.unwrap();
    vault.erase().await.unwrap();
    assert!(vault.load().await.unwrap().is_none());
}

#[tokio::test]
async fn missing_denied_and_unreachable_are_three_things() {
    let store = Store::new();
    let vault = KeyringVault::new(store.open());
    assert!(vault.load().await.unwrap().is_none());
    if cfg!(target_os = "linux") {
        store.fail_next(Error::NoStorageAccess("SS error: prompt dismissed".into()));
        assert_eq!(vault.load().await.unwrap_err(), VaultFault::Denied);
    }
    store.fail_next(Error::PlatformFailure("the connection was closed".into()));
    assert!(matches!(
        vault.load().await.unwrap_err(),
        VaultFault::Unreachable { .. }
    ));
    // A lost connection is made anew.
    assert!(vault.load().await.unwrap().is_none());
    assert_eq!(store.openings.load(Ordering::SeqCst), 2);
    store.fail_next(Error::BadEncoding(b"leaked-bytes".to_vec()));
    let fault = vault.load().await.unwrap_err();
    assert!(matches!(fault, VaultFault::Damaged { .. }));
    assert!(!format!("{fault:?} {fault}").contains("leaked"));
}

#[tokio::test]
async fn what_cannot_be_read_is_left_and_put_aside_only_when_something_is_stored() {
    let store = Store::new();
    let vault = KeyringVault::new(store.open());
    store.item("keys").set_secret(b"{broken").unwrap();
    assert!(matches!(
        vault.load().await.unwrap_err(),
        VaultFault::Damaged { .. }
    ));
    assert_eq!(store.item("keys").get_secret().unwrap(), b"{broken");
    vault.store(&secrets(&[("default", "new")])).await.unwrap();
    assert_eq!(
        store.item("keys (damaged)").get_secret().unwrap(),
        b"{broken"
    );
    assert_eq!(
        shown(vault.load().await.unwrap()),
        pairs(&[("default", "new")])
    );
}

#[tokio::test]
async fn the_file_is_for_its_owner_alone_and_keeps_what_a_later_version_added() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".openclaw/ecto-credentials.json");
    let vault = FileVault::new(path.clone());
    assert!(vault.load().await.unwrap().is_none());
    vault.store(&secrets(&[("default", "one")])).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);

    let added =
        r#"{"version":1,"keys":[{"name":"default","secret":"one","label":"phone"}],"made":"2026"}"#;
    fs::write(&path, added).unwrap();
    vault.store(&secrets(&[("default", "one")])).await.unwrap();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        added,
        "storing the same changes nothing"
    );
    vault
        .store(&secrets(&[("new", "two"), ("default", "three")]))
        .await
        .unwrap();
    let written: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let all = serde_json::json!({"routes": ["chat", "responses", "models"], "agent": null,
        "rate": null, "concurrent": null, "expires": null, "from": []});
    assert_eq!(
        written,
        serde_json::json!({"version": 2, "made": "2026", "keys": [
            {"name": "new", "secret": "two", "grant": all},
            {"name": "default", "secret": "three", "grant": all, "label": "phone"}]})
    );
    assert_eq!(
        fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1,
        "nothing unfinished stays behind"
    );
    assert_eq!(
        vault.place(),
        VaultPlace::File {
            path: path.display().to_string()
        }
    );
}

#[tokio::test]
async fn a_file_open_to_others_is_closed_to_them() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(folder.path());
    let vault = FileVault::new(folders.credentials().to_owned());
    vault.store(&secrets(&[("default", "one")])).await.unwrap();
    fs::set_permissions(folders.credentials(), fs::Permissions::from_mode(0o644)).unwrap();
    let opened = open(VaultChoice::File, &folders, Store::new().open())
        .await
        .unwrap();
    assert_eq!(
        opened.notices,
        [VaultNotice::OpenToOthers {
            path: folders.credentials().to_owned()
        }]
    );
    assert_eq!(
        shown(opened.vault.look().await.unwrap()),
        pairs(&[("default", "one")])
    );
    assert_eq!(mode(folders.credentials()), 0o644, "looked at and changed");
    assert_eq!(
        shown(opened.vault.load().await.unwrap()),
        pairs(&[("default", "one")])
    );
    assert_eq!(mode(folders.credentials()), 0o600);
}

#[tokio::test]
async fn a_link_or_a_folder_in_the_files_place_is_refused_and_left() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, "{}").unwrap();
    let path = folder.path().join("link.json");
    symlink(&elsewhere, &path).unwrap();
    let vault = FileVault::new(path.clone());
    for fault in [
        vault.load().await.map(drop),
        vault.store(&secrets(&[("default", "one")])).await,
    ] {
        assert!(fault.unwrap_err().to_string().contains("symbolic link"));
    }
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "{}");
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());

    let vault = FileVault::new(folder.path().to_owned());
    assert!(matches!(
        vault.load().await.unwrap_err(),
        VaultFault::Unreachable { .. }
    ));
}

#[tokio::test]
async fn a_damaged_file_is_never_taken_for_a_missing_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ecto-credentials.json");
    let vault = FileVault::new(path.clone());
    for damaged in [
        "",
        "{\"version\":1",
        "[]",
        "{\"version\":\"1\"}",
        "{\"version\":1,\"keys\":3}",
    ] {
        fs::write(&path, damaged).unwrap();
        assert!(
            matches!(vault.load().await.unwrap_err(), VaultFault::Damaged { .. }),
            "{damaged}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
    }
    vault.store(&secrets(&[("default", "new")])).await.unwrap();
    let aside = folder.path().join("ecto-credentials.damaged.json");
    assert_eq!(
        fs::read_to_string(&aside).unwrap(),
        "{\"version\":1,\"keys\":3}"
    );
    assert_eq!(mode(&aside), 0o600);
    assert_eq!(
        shown(vault.load().await.unwrap()),
        pairs(&[("default", "new")])
    );
}

#[tokio::test]
async fn what_a_newer_version_wrote_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ecto-credentials.json");
    let newer = r#"{"version":3,"vaults":[]}"#;
    fs::write(&path, newer).unwrap();
    let vault = FileVault::new(path.clone());
    for fault in [
        vault.load().await.map(drop),
        vault.store(&secrets(&[("default", "one")])).await,
    ] {
        assert!(fault.unwrap_err().to_string().contains("newer version"));
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), newer);
}

#[tokio::test]
async fn a_full_disk_leaves_the_old_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ecto-credentials.json");
    FileVault::new(path.clone())
        .store(&secrets(&[("default", "old")]))
        .await
        .unwrap();
    let full = FileVault::of(PrivateFile::with_write(path.clone(), |file, bytes| {
        io::Write::write_all(file, &bytes[..bytes.len() / 2])?;
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }));
    let fault = full
        .store(&secrets(&[("default", "new")]))
        .await
        .unwrap_err();
    assert!(matches!(fault, VaultFault::Unreachable { .. }));
    assert_eq!(
        shown(full.load().await.unwrap()),
        pairs(&[("default", "old")])
    );
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing unfinished stays behind"
    );
}

#[tokio::test]
async fn without_a_store_the_file_is_used_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(folder.path());
    let store = Store::new();
    store.close(true);
    let opened = open(VaultChoice::Auto, &folders, store.open())
        .await
        .unwrap();
    assert!(matches!(
        opened.notices[..],
        [VaultNotice::FileInstead { .. }]
    ));
    assert!(
        opened.notices[0]
            .to_string()
            .contains(folders.credentials().to_str().unwrap())
    );
    opened
        .vault
        .store(&secrets(&[("default", "one")]))
        .await
        .unwrap();

    // The store is back, but the secrets are where they are.
    store.close(false);
    let opened = open(VaultChoice::Auto, &folders, store.open())
        .await
        .unwrap();
    assert_eq!(opened.notices, []);
    assert_eq!(
        shown(opened.vault.load().await.unwrap()),
        pairs(&[("default", "one")])
    );
}

#[tokio::test]
async fn a_store_that_has_the_secrets_and_does_not_answer_is_unreachable_and_not_empty() {
    let folder = tempfile::tempdir().unwrap();
    let folders = folders(folder.path());
    let store = Store::new();
    let opened = open(VaultChoice::Auto, &folders, store.open())
        .await
        .unwrap();
    opened
        .vault
        .store(&secrets(&[("default", "one")]))
        .await
        .unwrap();

    store.close(true);
    let opened = open(VaultChoice::Auto, &folders, store.open())
        .await
        .unwrap();
    assert!(matches!(
        opened.vault.load().await.unwrap_err(),
        VaultFault::Unreachable { .. }
    ));
    assert!(!folders.credentials().exists());

    // Nor does a record that cannot be read lead elsewhere.
    let record = folders.state().join("vault.json");
    fs::write(&record, "{").unwrap();
    let opened = open(VaultChoice::Auto, &folders, store.open())
        .await
        .unwrap();
    assert!(matches!(
        opened.vault.load().await.unwrap_err(),
        VaultFault::Unreachable { .. }
    ));
    fs::remove_file(&record).unwrap();
    fs::create_dir(&record).unwrap();
    let opened = open(VaultChoice::Auto, &folders, store.open())
        .await
        .unwrap();
    assert!(matches!(
        opened.vault.load().await.unwrap_err(),
        VaultFault::Unreachable { .. }
    ));
}

#[tokio::test]
async fn folders_set_apart_leave_the_persons_store_alone() {
    let folder = tempfile::tempdir().unwrap();
    let value = folder.path().as_os_str().to_owned();
    let folders = Folders::locate(System::Linux, |name| {
        (name == "ECTO_HOME").then(|| value.clone())
    })
    .unwrap();
    let store = Store::new();
    let opened = open(VaultChoice::Auto, &folders, store.open())
        .await
        .unwrap();
    opened
        .vault
        .store(&secrets(&[("default", "one")]))
        .await
        .unwrap();
    assert_eq!(store.openings.load(Ordering::SeqCst), 0);
    assert!(folders.credentials().starts_with(folder.path()));
}

struct OlderFile {
    _folder: tempfile::TempDir,
    folders: Folders,
    content: String,
}

impl OlderFile {
    fn left(content: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let folders = folders(folder.path());
        fs::create_dir(folder.path().join(".openclaw")).unwrap();
        fs::write(folders.credentials(), &content).unwrap();
        fs::set_permissions(folders.credentials(), fs::Permissions::from_mode(0o644)).unwrap();
        Self {
            _folder: folder,
            folders,
            content,
        }
    }

    fn aside(&self) -> PathBuf {
        self.folders.credentials().with_extension("imported.json")
    }

    async fn open(&self, choice: VaultChoice, store: &Store) -> OpenedVault {
        open(choice, &self.folders, store.open()).await.unwrap()
    }

    /// Nothing was renamed, written or given another mode.
    fn assert_is_untouched(&self) {
        let path = self.folders.credentials();
        assert_eq!(fs::read_to_string(path).unwrap(), self.content);
        assert_eq!(mode(path), 0o644);
        let beside = fs::read_dir(path.parent().unwrap()).unwrap();
        assert_eq!(beside.count(), 1);
        assert!(!self.folders.state().join("vault.json").exists());
    }

    fn assert_is_aside(&self) {
        assert_eq!(fs::read_to_string(self.aside()).unwrap(), self.content);
        assert_eq!(mode(&self.aside()), 0o600);
    }
}

#[tokio::test]
async fn the_key_of_an_older_file_goes_on_being_valid_and_its_gateway_token_never_becomes_a_key() {
    let key = key::make_key(&mut rand::rngs::SysRng).unwrap();
    let content = serde_json::json!({
        "gatewayToken": "0123456789abcdef0123456789abcdef",
        "note": {"by": "hand", "apiKey": key.expose_secret()},
    });
    for choice in [VaultChoice::System, VaultChoice::File] {
        let older = OlderFile::left(content.to_string());
        let store = Store::new();
        let opened = older.open(choice, &store).await;
        assert!(opened.vault.look().await.unwrap().is_none());
        older.assert_is_untouched();
        assert_eq!(
            shown(opened.vault.load().await.unwrap()),
            pairs(&[("default", key.expose_secret())])
        );
        older.assert_is_aside();
        assert_eq!(
            older.folders.credentials().exists(),
            choice == VaultChoice::File
        );

        let aside = fs::metadata(older.aside()).unwrap().ino();
        let again = older.open(choice, &store).await;
        assert_eq!(
            shown(again.vault.load().await.unwrap()),
            pairs(&[("default", key.expose_secret())])
        );
        assert_eq!(
            fs::metadata(older.aside()).unwrap().ino(),
            aside,
            "imported twice"
        );
    }
}

#[tokio::test]
async fn an_older_file_without_a_key_is_put_aside() {
    let older = OlderFile::left(r#"{"gatewayToken":"abc","token":"def","key":"short"}"#.to_owned());
    let opened = older.open(VaultChoice::File, &Store::new()).await;
    older.assert_is_untouched();
    assert!(opened.vault.load().await.unwrap().is_none());
    older.assert_is_aside();
    assert!(!older.folders.credentials().exists());
}

#[tokio::test]
async fn an_older_file_never_replaces_a_key_that_is_there_and_waits_while_the_store_refuses() {
    let key = key::make_key(&mut rand::rngs::SysRng).unwrap();
    let older = OlderFile::left(serde_json::json!({"key": key.expose_secret()}).to_string());
    let store = Store::new();
    store.close(true);
    let opened = older.open(VaultChoice::System, &store).await;
    opened.vault.load().await.unwrap_err();
    assert_eq!(
        fs::read_to_string(older.folders.credentials()).unwrap(),
        older.content
    );
    assert!(!older.aside().exists());

    store.close(false);
    KeyringVault::new(store.open())
        .store(&secrets(&[("default", "mine")]))
        .await
        .unwrap();
    // The vault that was refused tries again.
    assert_eq!(
        shown(opened.vault.load().await.unwrap()),
        pairs(&[("default", "mine")])
    );
    older.assert_is_aside();
}

#[tokio::test]
async fn erasing_leaves_no_older_key_to_be_taken_over() {
    let key = key::make_key(&mut rand::rngs::SysRng).unwrap();
    let older = OlderFile::left(serde_json::json!({"key": key.expose_secret()}).to_string());
    let store = Store::new();
    let opened = older.open(VaultChoice::File, &store).await;
    opened.vault.erase().await.unwrap();
    let again = older.open(VaultChoice::File, &store).await;
    assert!(again.vault.load().await.unwrap().is_none());
    older.assert_is_aside();
}

fn moment() -> impl Strategy<Value = Timestamp> {
    (0i64..4_000_000_000).prop_map(|second| Timestamp::from_second(second).unwrap())
}

fn grant() -> impl Strategy<Value = KeyGrant> {
    let route = prop::sample::select(key::Route::ALL.to_vec());
    let rate = (
        1u32..5000,
        prop::sample::select(vec!["sec", "min", "hour", "day"]),
    );
    (
        prop::collection::btree_set(route, 1..=3),
        prop::option::of("[a-z0-9][a-z0-9_-]{0,20}"),
        prop::option::of(rate),
        prop::option::of(1u32..100),
        prop::option::of(moment()),
        prop::collection::vec((any::<[u8; 4]>(), 0u8..=32), 0..3),
    )
        .prop_map(
            |(routes, agent, rate, concurrent, expires, from)| KeyGrant {
                routes,
                agent: agent.map(|agent| agent.parse().unwrap()),
                rate: rate.map(|(count, per)| format!("{count}/{per}").parse().unwrap()),
                concurrent: concurrent.and_then(std::num::NonZeroU32::new),
                expires,
                from: from
                    .into_iter()
                    .map(|([a, b, c, d], bits)| {
                        key::grant::parse_range(&format!("{a}.{b}.{c}.{d}/{bits}")).unwrap()
                    })
                    .collect(),
            },
        )
}

fn ring() -> impl Strategy<Value = KeyRing> {
    let name = "[a-zA-Z0-9]([a-zA-Z0-9 @._-]{0,20}[a-zA-Z0-9])?";
    let earlier = prop::option::of((any::<[u8; 8]>(), moment()));
    let rest = (earlier, grant(), prop::option::of(moment()));
    prop::collection::btree_map(name, ("[ -~]{1,60}", rest), 0..6).prop_map(|keys| KeyRing {
        keys: keys
            .into_iter()
            .map(|(name, (secret, (earlier, grant, made)))| Key {
                name: name.parse().unwrap(),
                secret: SecretString::from(secret),
                earlier: earlier.map(|(bytes, until)| EarlierSecret {
                    digest: KeyDigest::of(&bytes),
                    until,
                }),
                grant,
                made,
            })
            .collect(),
    })
}

proptest! {
    #[test]
    fn keys_come_back_with_all_their_limits(before in ring(), after in ring()) {
        let document = document::Document::empty().with(&before).with(&after);
        let bytes = document.bytes().unwrap();
        let Ok(document::Stored::Document(read)) = document::Stored::read(&bytes) else {
            panic!("not a document");
        };
        prop_assert!(read.ring().is(&after) && read.has(&after));
    }

    #[test]
    fn the_document_of_the_first_version_is_taken_over_whole(keys in prop::collection::btree_map("[a-z]{1,12}", "[ -~]{1,60}", 0..6)) {
        let first = serde_json::json!({"version": 1, "made": "2026", "keys": keys
            .iter()
            .map(|(name, secret)| serde_json::json!({"name": name, "secret": secret, "label": name}))
            .collect::<Vec<_>>()});
        let Ok(document::Stored::Document(read)) = document::Stored::read(first.to_string().as_bytes()) else {
            panic!("not a document");
        };
        let ring = read.ring();
        let shown: Vec<_> = shown(Some(ring.clone()));
        prop_assert_eq!(shown, keys.into_iter().collect::<Vec<_>>());
        prop_assert!(ring.keys.iter().all(|key| key.grant == KeyGrant::default() && key.earlier.is_none()));
        prop_assert!(read.has(&ring));
        let written = read.with(&ring).bytes().unwrap();
        let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
        prop_assert_eq!(&written["version"], 2);
        prop_assert_eq!(&written["made"], "2026");
        for key in written["keys"].as_array().unwrap() {
            prop_assert_eq!(&key["label"], &key["name"]);
        }
    }

    #[test]
    fn anything_else_is_refused_and_never_read_as_less_limited(version in 2u64..9, field in "[a-z]{3,9}", value in 0u32..9) {
        let mut grant = serde_json::json!({"routes": ["chat"]});
        prop_assume!(!["routes", "agent", "rate", "concurrent", "expires", "from"].contains(&field.as_str()));
        grant[&field] = value.into();
        let text = serde_json::json!({"version": version, "keys": [{"name": "phone", "secret": "one", "grant": grant}]});
        let read = document::Stored::read(text.to_string().as_bytes());
        let expected = if version == 2 { document::Unreadable::NotOurs } else { document::Unreadable::Newer };
        prop_assert_eq!(read.err(), Some(expected));
    }
}

#[test]
fn two_keys_of_one_name_are_not_what_ecto_writes() {
    for version in [1, 2] {
        let key =
            serde_json::json!({"name": "phone", "secret": "one", "grant": {"routes": ["chat"]}});
        let text = serde_json::json!({"version": version, "keys": [key, key]});
        let read = document::Stored::read(text.to_string().as_bytes());
        assert_eq!(read.err(), Some(document::Unreadable::NotOurs));
    }
}
