//! What a person chose once and for all, and the file it is kept in.

use std::io;
use std::path::{Path, PathBuf};

use ecto_core::tailnet::NodeChoice;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kept_file::KeptFile;

/// The version of the file that is written and understood.
const VERSION: u32 = 1;

/// What a person chose once and for all. The default is what is safe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Preferences {
    /// Which tailscaled is to hold the door.
    pub node: NodeChoice,
    /// What happens when the machine goes to sleep.
    pub at_sleep: AtSleep,
    /// Whether the desktop is told what matters.
    pub notifications: bool,
    /// For how long the door is opened.
    pub minutes: OpenFor,
    /// How large the text of the popover is.
    #[serde(default)]
    pub text: TextSize,
    /// Whether the app's control socket answers `GET /metrics`. Chosen in the file alone.
    #[serde(default)]
    pub metrics: bool,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            node: NodeChoice::Auto,
            at_sleep: AtSleep::Close,
            notifications: true,
            minutes: OpenFor::Hour,
            text: TextSize::Usual,
            metrics: false,
        }
    }
}

/// What happens when the machine goes to sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum AtSleep {
    /// What is wanted stays wanted; a door that was lost in sleep is opened again, with a new proof.
    Stay,
    /// The door is closed.
    Close,
}

/// How large text is: the usual, and 125, 150 and 200 percent of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum TextSize {
    /// As the system has it.
    #[default]
    Usual,
    /// 125 percent.
    Large,
    /// 150 percent.
    Larger,
    /// 200 percent.
    Largest,
}

/// For how long the door is opened. Crosses as a number of minutes; `null` means until somebody says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "typescript",
    derive(ts_rs::TS),
    ts(type = "15 | 60 | 480 | null")
)]
pub enum OpenFor {
    /// 15 minutes.
    Quarter,
    /// 60 minutes.
    Hour,
    /// 480 minutes.
    Day,
    /// Until somebody says otherwise.
    Ever,
}

impl OpenFor {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Quarter, Self::Hour, Self::Day, Self::Ever];

    /// The number of minutes; `None` means until somebody says otherwise.
    pub fn minutes(self) -> Option<u32> {
        match self {
            Self::Quarter => Some(15),
            Self::Hour => Some(60),
            Self::Day => Some(480),
            Self::Ever => None,
        }
    }
}

impl Serialize for OpenFor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.minutes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for OpenFor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let minutes = Option::<u32>::deserialize(deserializer)?;
        Self::ALL
            .into_iter()
            .find(|open_for| open_for.minutes() == minutes)
            .ok_or_else(|| serde::de::Error::custom("not a time that can be chosen"))
    }
}

/// What was found in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Preferences that somebody chose.
    Chosen(Preferences),
    /// No file: nobody has chosen anything yet.
    Nothing,
    /// A file that is damaged or from a newer version. It was put aside, and the defaults are in force.
    Unreadable,
}

impl Found {
    /// The preferences in force.
    pub fn preferences(&self) -> Preferences {
        match self {
            Self::Chosen(preferences) => preferences.clone(),
            Self::Nothing | Self::Unreadable => Preferences::default(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    #[serde(flatten)]
    preferences: Preferences,
}

/// The file of the preferences, replaced as a whole.
#[derive(Debug, Clone)]
pub struct PreferencesFile {
    file: KeptFile,
}

impl PreferencesFile {
    /// A file in this folder, which must exist.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            file: KeptFile::in_folder(folder, "settings.json"),
        }
    }

    /// Reads the file. Always succeeds: whatever cannot be read or understood means the defaults, and is put aside as
    /// `settings.json.bad` so that it is not lost.
    pub fn read(&self) -> Found {
        match self.read_document() {
            Ok(None) => Found::Nothing,
            Ok(Some(document)) if document.version == VERSION => {
                Found::Chosen(document.preferences)
            }
            Ok(Some(_)) | Err(_) => {
                self.file.put_aside();
                Found::Unreadable
            }
        }
    }

    fn read_document(&self) -> io::Result<Option<Document>> {
        let bytes = self.file.read()?;
        let document = bytes.map(|bytes| serde_json::from_slice(&bytes));
        Ok(document.transpose()?)
    }

    /// Where a file that cannot be read is put aside.
    pub fn aside(&self) -> PathBuf {
        self.file.aside()
    }

    /// Puts these in the file's place, so that a crash or a full disk leaves the old ones or the new.
    pub fn write(&self, preferences: &Preferences) -> io::Result<()> {
        let document = Document {
            version: VERSION,
            preferences: preferences.clone(),
        };
        self.file.replace(&serde_json::to_vec_pretty(&document)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kept_file::SIZE_LIMIT;

    fn chosen() -> Preferences {
        Preferences {
            node: NodeChoice::Own,
            at_sleep: AtSleep::Stay,
            notifications: false,
            minutes: OpenFor::Ever,
            text: TextSize::Largest,
            metrics: true,
        }
    }

    #[test]
    fn what_was_chosen_is_read_back_and_the_first_time_nothing_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = PreferencesFile::in_folder(folder.path());
        assert_eq!(file.read(), Found::Nothing);
        file.write(&chosen()).unwrap();
        assert_eq!(file.read(), Found::Chosen(chosen()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_page_and_the_file_see_minutes_as_a_number_or_null() {
        let text = serde_json::to_string(&Preferences::default()).unwrap();
        insta::assert_snapshot!(text, @r#"{"node":"auto","at_sleep":"close","notifications":true,"minutes":60,"text":"usual","metrics":false}"#);
        for minutes in OpenFor::ALL {
            let text = serde_json::to_string(&minutes).unwrap();
            assert_eq!(serde_json::from_str::<OpenFor>(&text).unwrap(), minutes);
        }
        assert!(serde_json::from_str::<OpenFor>("7").is_err());
        // The popover is checked with these.
        let typed = OpenFor::ALL.map(|minutes| serde_json::to_string(&minutes).unwrap());
        assert_eq!(typed.join(" | "), "15 | 60 | 480 | null");
    }

    #[test]
    fn a_file_of_a_newer_version_means_the_defaults_and_is_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = PreferencesFile::in_folder(folder.path());
        let newer =
            r#"{"version":2,"node":"own","at_sleep":"stay","notifications":true,"minutes":null}"#;
        std::fs::write(folder.path().join("settings.json"), newer).unwrap();
        assert_eq!(file.read(), Found::Unreadable);
        assert_eq!(file.read(), Found::Nothing);
        let aside = std::fs::read_to_string(folder.path().join("settings.json.bad")).unwrap();
        assert_eq!(aside, newer);
    }

    #[test]
    fn a_folder_in_its_place_or_a_huge_file_means_the_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let file = PreferencesFile::in_folder(folder.path());
        std::fs::create_dir(folder.path().join("settings.json")).unwrap();
        assert_eq!(file.read().preferences(), Preferences::default());
        let huge = std::fs::File::create(folder.path().join("settings.json")).unwrap();
        huge.set_len(SIZE_LIMIT + 1).unwrap();
        assert_eq!(file.read().preferences(), Preferences::default());
    }

    proptest! {
        #[test]
        fn damaged_bytes_are_never_more_than_the_defaults_and_never_lost(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let folder = tempfile::tempdir().unwrap();
            let file = PreferencesFile::in_folder(folder.path());
            std::fs::write(folder.path().join("settings.json"), &bytes).unwrap();
            prop_assert_eq!(file.read(), Found::Unreadable);
            prop_assert_eq!(std::fs::read(folder.path().join("settings.json.bad")).unwrap(), bytes);
        }
    }
}
