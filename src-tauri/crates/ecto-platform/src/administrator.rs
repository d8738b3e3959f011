//! The one administrator prompt.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ecto_core::foreign::ForeignText;
use tokio::process::Command;

use crate::System;

/// Quotes its arguments itself, so that nothing is ever pasted into a script: the first is what the prompt says, the
/// rest are the program and its arguments.
const SCRIPT: &str = r#"on run argv
  set commandLine to ""
  repeat with position from 2 to count of argv
    set commandLine to commandLine & quoted form of (item position of argv) & " "
  end repeat
  do shell script commandLine with prompt (item 1 of argv) with administrator privileges
end run"#;

/// Runs commands as the administrator, after asking the person; or tells the person the command.
#[derive(Debug, Clone)]
pub struct Administrator {
    prompter: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The command ran and succeeded.
    Done,
    /// The person closed the prompt. Not an error: nothing was changed.
    Cancelled,
    /// This system has no prompt: the person runs this command, which is quoted for a shell.
    RunYourself(String),
}

/// Why the command did not run or did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum AdministratorFault {
    /// The program is not named by an absolute path, so it could be another one.
    #[error("{} is not an absolute path, and the administrator runs nothing else.", .0.display())]
    NotAbsolute(PathBuf),
    /// The person may not administer this Mac, or the password was wrong.
    #[error(
        "The administrator's password was not accepted. Try again, or ask someone who may administer this Mac."
    )]
    NotAllowed,
    /// Nobody can be asked: no one is logged in at the screen.
    #[error(
        "The administrator's password cannot be asked for here. Log in at this Mac's screen and try again."
    )]
    NobodyToAsk,
    /// The command ran as administrator and failed.
    #[error("The command failed as administrator (exit code {code}): {detail}")]
    CommandFailed {
        /// Its exit code.
        code: i32,
        /// What it said.
        detail: ForeignText,
    },
    /// The prompt itself failed.
    #[error("The administrator prompt failed: {0}")]
    PromptFailed(ForeignText),
    /// The prompt could not be started.
    #[error("The administrator prompt could not be started: {0}")]
    NotStarted(#[from] io::Error),
}

impl AdministratorFault {
    /// The stable code of this fault.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotAbsolute(_) => "administrator.not_absolute",
            Self::NotAllowed => "administrator.not_allowed",
            Self::NobodyToAsk => "administrator.nobody_to_ask",
            Self::CommandFailed { .. } => "administrator.command_failed",
            Self::PromptFailed(_) => "administrator.prompt_failed",
            Self::NotStarted(_) => "administrator.not_started",
        }
    }
}

impl Administrator {
    /// The system's own way: a prompt on macOS, a command to run on Linux.
    pub fn of(system: System) -> Self {
        match system {
            System::MacOs => Self::with_prompter(PathBuf::from("/usr/bin/osascript")),
            System::Linux => Self { prompter: None },
        }
    }

    /// Asks with this program, which takes the arguments of `osascript`.
    pub fn with_prompter(prompter: PathBuf) -> Self {
        Self {
            prompter: Some(prompter),
        }
    }

    /// Runs `program`, an absolute path, as the administrator after one prompt that says `reason`, a sentence.
    /// Dropping this closes the prompt. Secrets do not belong in `arguments`: other users can see them.
    pub async fn run(
        &self,
        reason: &str,
        program: &Path,
        arguments: &[OsString],
    ) -> Result<Outcome, AdministratorFault> {
        if !program.is_absolute() {
            return Err(AdministratorFault::NotAbsolute(program.to_owned()));
        }
        let Some(prompter) = &self.prompter else {
            return Ok(Outcome::RunYourself(command_to_run(program, arguments)));
        };
        let output = Command::new(prompter)
            .args(prompt_arguments(reason, program, arguments))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        if output.status.success() {
            return Ok(Outcome::Done);
        }
        refusal(&String::from_utf8_lossy(&output.stderr))
    }
}

/// What `osascript` is called with. The reason stands before anything that could look like an option of it.
fn prompt_arguments(reason: &str, program: &Path, arguments: &[OsString]) -> Vec<OsString> {
    let mut all = vec!["-e".into(), SCRIPT.into(), reason.into(), program.into()];
    all.extend_from_slice(arguments);
    all
}

/// What `osascript` means by exiting with 1: its last words are `execution error: <text> (<number>)`. Negative numbers
/// are the system's (`-128` userCanceledErr, `-60005` errAuthorizationDenied, `-60007` errAuthorizationInteractionNotAllowed,
/// `-1713` errAENoUserInteraction), positive ones are the exit code of the command.
fn refusal(said: &str) -> Result<Outcome, AdministratorFault> {
    let said = said.trim_end();
    let number = said
        .strip_suffix(')')
        .and_then(|said| said.rsplit_once('('))
        .and_then(|(_, number)| number.parse::<i32>().ok());
    let detail = || {
        ForeignText::new(
            said.split_once("execution error: ")
                .map_or(said, |(_, text)| text),
        )
    };
    match number {
        Some(-128) => Ok(Outcome::Cancelled),
        Some(-60005) => Err(AdministratorFault::NotAllowed),
        Some(-60007 | -1713) => Err(AdministratorFault::NobodyToAsk),
        Some(code) if code > 0 => Err(AdministratorFault::CommandFailed {
            code,
            detail: detail(),
        }),
        Some(_) | None => Err(AdministratorFault::PromptFailed(detail())),
    }
}

fn command_to_run(program: &Path, arguments: &[OsString]) -> String {
    let words =
        std::iter::once(program.as_os_str()).chain(arguments.iter().map(OsString::as_os_str));
    words.fold(String::from("sudo"), |line, word| {
        line + " " + &quoted(&word.to_string_lossy())
    })
}

/// The word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain =
        |character: char| character.is_ascii_alphanumeric() || "/._-=:@%+,".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {

    use proptest::prelude::*;

    use super::*;

    fn prompter(folder: &Path, script: &str) -> Administrator {
        let path = folder.join("osascript");
        crate::script::write(&path, script);
        Administrator::with_prompter(path)
    }

    async fn asked(script: &str) -> Result<Outcome, AdministratorFault> {
        let folder = tempfile::tempdir().unwrap();
        let administrator = prompter(folder.path(), script);
        administrator
            .run(
                "Ecto installs Tailscale.",
                Path::new("/usr/local/bin/tailscaled"),
                &["install-system-daemon".into()],
            )
            .await
    }

    #[tokio::test]
    async fn closing_the_prompt_is_not_an_error() {
        let outcome = asked("echo '0:42: execution error: User canceled. (-128)' >&2; exit 1")
            .await
            .unwrap();
        assert_eq!(outcome, Outcome::Cancelled);
    }

    #[tokio::test]
    async fn each_refusal_has_its_meaning() {
        assert_eq!(asked("exit 0").await.unwrap(), Outcome::Done);
        for (said, code) in [
            (
                "execution error: The administrator user name or password was incorrect. (-60005)",
                "administrator.not_allowed",
            ),
            (
                "execution error: No user interaction allowed. (-1713)",
                "administrator.nobody_to_ask",
            ),
            (
                "execution error: tailscaled: bad flag (2)",
                "administrator.command_failed",
            ),
            ("syntax error", "administrator.prompt_failed"),
            ("", "administrator.prompt_failed"),
        ] {
            let fault = asked(&format!("echo '{said}' >&2; exit 1"))
                .await
                .unwrap_err();
            assert_eq!(fault.code(), code, "{said}");
        }
    }

    #[tokio::test]
    async fn a_command_found_by_name_alone_is_refused() {
        let fault = Administrator::of(System::MacOs)
            .run("x", Path::new("tailscaled"), &[])
            .await
            .unwrap_err();
        assert_eq!(fault.code(), "administrator.not_absolute");
    }

    #[tokio::test]
    async fn where_there_is_no_prompt_the_command_is_told() {
        let outcome = Administrator::of(System::Linux)
            .run(
                "Ecto starts Tailscale.",
                Path::new("/usr/bin/systemctl"),
                &["enable".into(), "--now".into(), "it's $(x)".into()],
            )
            .await
            .unwrap();
        assert_eq!(
            outcome,
            Outcome::RunYourself(r"sudo /usr/bin/systemctl enable --now 'it'\''s $(x)'".to_owned())
        );
    }

    fn nasty() -> impl Strategy<Value = Vec<String>> {
        let character = prop_oneof![
            prop::sample::select(vec![
                '\'', '"', '$', '(', ')', '`', '\n', '\\', ' ', '-', ';', '&', '*', '!', '\t', 'é',
                '"'
            ]),
            any::<char>().prop_filter("an argument holds no NUL", |character| *character != '\0'),
        ];
        prop::collection::vec(
            prop::collection::vec(character, 0..20).prop_map(String::from_iter),
            0..6,
        )
    }

    proptest! {
        #[test]
        fn arguments_reach_the_prompt_as_they_are_and_the_script_never_changes(words in nasty()) {
            let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
            let all = prompt_arguments("Ecto installs it.", Path::new("/bin/x"), &arguments);
            prop_assert_eq!(&all[..4], &[OsString::from("-e"), SCRIPT.into(), "Ecto installs it.".into(), "/bin/x".into()]);
            prop_assert_eq!(&all[4..], &arguments[..]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_shell_reads_a_told_command_back_as_it_was(words in nasty()) {
            let line: String = words.iter().map(|word| format!(" {}", quoted(word))).collect();
            let script = format!(r"printf '%s\0' first{line}");
            let read = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
            let expected: String = std::iter::once("first").chain(words.iter().map(String::as_str)).map(|word| format!("{word}\0")).collect();
            prop_assert_eq!(String::from_utf8(read.stdout).unwrap(), expected);
        }
    }
}
