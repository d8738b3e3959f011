//! What macOS says of a login item means, and what follows from it (SMAppService, macOS 13).

use std::path::Path;

use crate::refusal::Refusal;
use crate::view::LoginItem;

/// `SMAppServiceStatusEnabled`.
pub const ENABLED: isize = 1;

/// `SMAppServiceStatusRequiresApproval`: registered, and switched off by the person or an administrator.
pub const REQUIRES_APPROVAL: isize = 2;

/// Whether this program is in a bundle: nothing else can be a login item.
pub fn is_in_bundle(program: &Path) -> bool {
    program
        .parent()
        .is_some_and(|folder| folder.ends_with("Contents/MacOS"))
}

/// Whether Ecto opens at login, by the status of its item; there is none outside of a bundle.
pub fn item_of(status: Option<isize>) -> LoginItem {
    match status {
        None => LoginItem::Unavailable,
        Some(ENABLED) => LoginItem::On,
        Some(REQUIRES_APPROVAL) => LoginItem::Refused,
        Some(_) => LoginItem::Off,
    }
}

/// Whether the system has to be asked to have it so.
pub fn is_to_be_asked(on: bool, now: LoginItem) -> Result<bool, Refusal> {
    match (on, now) {
        (true, LoginItem::Unavailable) => Err(Refusal::nothing(
            "Only the installed app can open at login.",
        )),
        (true, LoginItem::On) | (false, LoginItem::Off | LoginItem::Unavailable) => Ok(false),
        // One that waits for approval is still registered.
        (true, LoginItem::Off | LoginItem::Refused)
        | (false, LoginItem::On | LoginItem::Refused) => Ok(true),
    }
}

/// What became of it, by what the system answered and how the item is since.
pub fn outcome(on: bool, answer: Result<(), String>, since: LoginItem) -> Result<(), Refusal> {
    match (answer, since) {
        (_, LoginItem::Refused) if on => Err(Refusal::new(
            "login_item_refused",
            "macOS does not let Ecto open at login.",
            "Allow it in System Settings, General, Login Items.",
        )),
        (Err(fault), _) => Err(Refusal::new(
            "login_item_refused",
            format!("macOS did not change the login item: {fault}."),
            "Change it in System Settings, General, Login Items.",
        )),
        (Ok(()), _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_of_the_system_leads_to_one_deed_and_one_sentence() {
        let fault = || Err("Operation not permitted".to_owned());
        let lines = [
            None,
            Some(0),
            Some(ENABLED),
            Some(REQUIRES_APPROVAL),
            Some(3),
        ]
        .map(|status| {
            let now = item_of(status);
            let told = [true, false].map(|on| {
                let said = |outcome: Result<(), Refusal>| match outcome {
                    Ok(()) => "done".to_owned(),
                    Err(refusal) => refusal.to_string(),
                };
                match is_to_be_asked(on, now) {
                    Ok(false) => "nothing to do".to_owned(),
                    Ok(true) => format!(
                        "asked; taken and now so: {}; refused and now so: {}",
                        said(outcome(on, Ok(()), now)),
                        said(outcome(on, fault(), now))
                    ),
                    Err(refusal) => refusal.to_string(),
                }
            });
            format!("{now:?}\n  on:  {}\n  off: {}", told[0], told[1])
        });
        insta::assert_snapshot!(lines.join("\n"), @r"
        Unavailable
          on:  Only the installed app can open at login.
          off: nothing to do
        Off
          on:  asked; taken and now so: done; refused and now so: macOS did not change the login item: Operation not permitted. Change it in System Settings, General, Login Items.
          off: nothing to do
        On
          on:  nothing to do
          off: asked; taken and now so: done; refused and now so: macOS did not change the login item: Operation not permitted. Change it in System Settings, General, Login Items.
        Refused
          on:  asked; taken and now so: macOS does not let Ecto open at login. Allow it in System Settings, General, Login Items.; refused and now so: macOS does not let Ecto open at login. Allow it in System Settings, General, Login Items.
          off: asked; taken and now so: done; refused and now so: macOS did not change the login item: Operation not permitted. Change it in System Settings, General, Login Items.
        Off
          on:  asked; taken and now so: done; refused and now so: macOS did not change the login item: Operation not permitted. Change it in System Settings, General, Login Items.
          off: nothing to do
        ");
    }

    #[test]
    fn only_a_program_in_a_bundle_can_be_one() {
        for (program, is_one) in [
            ("/Applications/Ecto.app/Contents/MacOS/ecto", true),
            ("/Users/ada/ecto/target/debug/ecto-app", false),
            ("ecto", false),
        ] {
            assert_eq!(is_in_bundle(Path::new(program)), is_one, "{program}");
        }
    }
}
