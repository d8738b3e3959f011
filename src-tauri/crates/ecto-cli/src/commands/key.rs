//! `ecto key`: a key for each client.
//!
//! The key itself is printed on stdout by `add`, `rotate` and `show` alone; everything else goes to stderr. It is never
//! taken from the command line, where others could see it.

use std::io::Read;
use std::time::Duration;

use ecto_core::Timestamp;
use ecto_core::engine::command::FoundKey;
use ecto_core::key::{KeyDigest, KeyGrant, KeyName, NewEnd, Route, WhichSecret, is_well_formed};
use ecto_core::snapshot::{KeyState, KeyView};
use ecto_core::words::{not_offered, typed_name};
use ecto_host::report::SCHEMA;
use ecto_host::request::{Answer, Request};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::arguments::{Expiry, KeyCommand, NewKey, Renewal};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// The longest line that is read as a key, in bytes.
const LONGEST_LINE: u64 = 1024;

/// What is said where there are none.
pub const NO_KEYS: &str = "There are no keys yet. The first `ecto connect` makes one.";

/// Does what was asked for.
pub async fn run(command: KeyCommand, session: &Session) -> Result<Exit, Failure> {
    match command {
        KeyCommand::Add(new) => add(new, session).await,
        KeyCommand::List => list(session).await,
        KeyCommand::Show { name } => show(&name, session).await,
        KeyCommand::Rotate {
            name,
            grace,
            expires,
        } => rotate(&name, grace, expires, session).await,
        KeyCommand::Revoke { name } => revoke(&name, session).await,
        KeyCommand::Rename { name, to } => rename(&name, &to, session).await,
        KeyCommand::Which => which(session).await,
    }
}

/// Reads the name of a key that there is.
pub fn read_name(text: &str) -> Result<KeyName, Failure> {
    parse_name(text, "See which keys there are with `ecto key list`.")
}

/// Reads a name that a key is to have.
fn read_new_name(text: &str) -> Result<KeyName, Failure> {
    parse_name(text, "Choose another name.")
}

/// Reads a name. What looks like a key is not repeated.
fn parse_name(text: &str, next: &str) -> Result<KeyName, Failure> {
    text.parse().map_err(|fault| Failure::Own {
        code: "key_name_unusable",
        message: ecto_core::words::Message {
            what: format!("That cannot be the name of a key: {fault}."),
            next: Some(next.to_owned()),
        },
        exit: Exit::Usage,
    })
}

/// The moment at which a key is to end, if that is still to come.
fn read_end(end: Expiry) -> Result<Timestamp, Failure> {
    let now = Timestamp::now();
    let end = end.after(now);
    if end <= now {
        return Err(Failure::own(
            "key_expired",
            "The key would have expired already, so none was made.",
            "Choose a moment that is to come.",
        ));
    }
    Ok(end)
}

async fn add(new: NewKey, session: &Session) -> Result<Exit, Failure> {
    let name = read_new_name(&new.name)?;
    let expires = new.expires.map(read_end).transpose()?;
    let grant = KeyGrant {
        routes: if new.routes.is_empty() {
            Route::USUAL.into()
        } else {
            new.routes.into_iter().collect()
        },
        agent: new.agent,
        rate: new.rate,
        concurrent: new.concurrent,
        expires,
        from: new.from,
    };
    let (secret, key) = ask_key(session, Request::AddKey { name, grant }).await?;
    print_new_key(session, &secret, &key)?;
    tell_grant(session, &key).await;
    Ok(Exit::Done)
}

async fn show(name: &str, session: &Session) -> Result<Exit, Failure> {
    let name = read_name(name)?;
    let (secret, key) = ask_key(session, Request::ShowKey { name }).await?;
    print_key(session, &secret, &key)?;
    tell_grant(session, &key).await;
    tell_earlier(session, &key);
    Ok(Exit::Done)
}

async fn rotate(
    name: &str,
    grace: Duration,
    expires: Option<Renewal>,
    session: &Session,
) -> Result<Exit, Failure> {
    let request = Request::RotateKey {
        name: read_name(name)?,
        grace_seconds: grace.as_secs(),
        end: match expires {
            None => NewEnd::AsBefore,
            Some(Renewal::Never) => NewEnd::Never,
            Some(Renewal::Ends(end)) => NewEnd::At(read_end(end)?),
        },
    };
    let (secret, key) = ask_key(session, request).await?;
    print_new_key(session, &secret, &key)?;
    if !session.terminal.is_json() {
        let before = key.earlier_until.map_or_else(
            || "The one before no longer works.".to_owned(),
            |until| format!("The one before works until {}.", moment(until)),
        );
        session
            .terminal
            .tell(&format!("The key \"{}\" is a new one. {before}", key.name));
    }
    tell_grant(session, &key).await;
    Ok(Exit::Done)
}

async fn revoke(name: &str, session: &Session) -> Result<Exit, Failure> {
    let name = read_name(name)?;
    let request = Request::RevokeKey { name: name.clone() };
    session.ask(request).await?;
    if session.terminal.is_json() {
        let document = json!({ "schema": SCHEMA, "revoked": name });
        session.terminal.print_json(&document)?;
    } else {
        session.terminal.tell(&format!(
            "The key \"{name}\" no longer works, and what was open with it is cut."
        ));
    }
    Ok(Exit::Done)
}

async fn rename(name: &str, to: &str, session: &Session) -> Result<Exit, Failure> {
    let (name, to) = (read_name(name)?, read_new_name(to)?);
    let request = Request::RenameKey {
        name: name.clone(),
        to: to.clone(),
    };
    session.ask(request).await?;
    if session.terminal.is_json() {
        let document = json!({ "schema": SCHEMA, "renamed": name, "name": to });
        session.terminal.print_json(&document)?;
    } else {
        session
            .terminal
            .tell(&format!("The key \"{name}\" is now called \"{to}\"."));
    }
    Ok(Exit::Done)
}

async fn list(session: &Session) -> Result<Exit, Failure> {
    let keys = all_keys(session).await?;
    if session.terminal.is_json() {
        let document = json!({ "schema": SCHEMA, "keys": keys });
        session.terminal.print_json(&document)?;
        return Ok(Exit::Done);
    }
    if keys.is_empty() {
        session.terminal.tell(NO_KEYS);
        return Ok(Exit::Done);
    }
    let width = |text: fn(&KeyView) -> &str| {
        let longest = keys.iter().map(|key| text(key).chars().count()).max();
        longest.unwrap_or_default()
    };
    let (names, hints) = (width(|key| key.name.as_str()), width(|key| &key.hint));
    for key in &keys {
        let name = key.name.as_str();
        let used = key.last_used.map_or_else(
            || "no use on record".to_owned(),
            |used| format!("last used {}", moment(used)),
        );
        session.terminal.print(&format!(
            "{name:names$}  {:hints$}  {}{}{}; {used}",
            key.hint,
            key.summary,
            end(key),
            key.earlier_until
                .map(|until| format!("; the one before works until {}", moment(until)))
                .unwrap_or_default(),
        ))?;
    }
    Ok(Exit::Done)
}

/// Says whose a key is that comes on stdin. That it is mistyped is told here alone, and never over the net.
async fn which(session: &Session) -> Result<Exit, Failure> {
    let mut text = String::new();
    let read = std::io::stdin()
        .take(LONGEST_LINE)
        .read_to_string(&mut text);
    let presented = SecretString::from(text);
    let presented = presented.expose_secret().trim();
    if read.is_err() || !is_well_formed(presented) {
        return Err(Failure::own(
            "key_mistyped",
            "This is not a key as Ecto makes them: a character is wrong, or part of it is missing.",
            "Copy it again, all of it.",
        ));
    }
    let digest = KeyDigest::of(presented.as_bytes());
    let answer = session.ask(Request::FindKey { digest }).await?;
    let Some(FoundKey { key, which }) = answer.into_found_key()? else {
        return Err(Failure::own(
            "key_unknown",
            "This key is well formed and not one of those in force.",
            "It may have been revoked or rotated; see which there are with `ecto key list`.",
        ));
    };
    if session.terminal.is_json() {
        let document = json!({ "schema": SCHEMA, "key": key, "which": which });
        session.terminal.print_json(&document)?;
        return Ok(Exit::Done);
    }
    session.terminal.print(key.name.as_str())?;
    match (which, key.earlier_until) {
        (WhichSecret::Earlier, Some(until)) => session.terminal.tell(&format!(
            "This is the key \"{}\" from before it was replaced, and works until {}. `ecto key show {}` prints the present one.",
            key.name,
            moment(until),
            typed_name(&key.name)
        )),
        (WhichSecret::Earlier, None) | (WhichSecret::Present, _) => {}
    }
    tell_grant(session, &key).await;
    Ok(Exit::Done)
}

/// All keys that there are; none is made.
pub async fn all_keys(session: &Session) -> Result<Vec<KeyView>, Failure> {
    let makes_default = false;
    let answer = session.ask(Request::Keys { makes_default }).await?;
    Ok(answer.into_keys()?)
}

async fn ask_key(session: &Session, request: Request) -> Result<(SecretString, KeyView), Failure> {
    Ok(session.ask(request).await?.into_named_key()?)
}

fn print_key(session: &Session, secret: &SecretString, key: &KeyView) -> Result<(), Failure> {
    if session.terminal.is_json() {
        let document = json!({ "schema": SCHEMA, "key": key, "secret": secret.expose_secret() });
        session.terminal.print_json(&document)
    } else {
        session.terminal.print(secret.expose_secret())
    }
}

/// Prints a key that was just made. It is there also where that fails, and nobody has it then.
fn print_new_key(session: &Session, secret: &SecretString, key: &KeyView) -> Result<(), Failure> {
    print_key(session, secret, key).map_err(|failure| {
        failure.or_unprinted(
            &format!("The key \"{}\" was made.", key.name),
            format!("See it with `ecto key show {}`.", typed_name(&key.name)),
        )
    })
}

/// Tells what a key opens, and what of it is not offered.
async fn tell_grant(session: &Session, key: &KeyView) {
    if session.terminal.is_json() {
        return;
    }
    session.terminal.tell(&format!(
        "The key \"{}\" opens: {}{}.",
        key.name,
        key.summary,
        end(key)
    ));
    if key.grant.routes.iter().any(|route| route.is_optional()) {
        // The key is there, whether or not what is offered can be had.
        let Ok(Ok(offer)) = session.ask(Request::Offer).await.map(Answer::into_offer) else {
            return;
        };
        for route in &key.grant.routes {
            if !offer.has(*route) {
                session.terminal.tell(&not_offered(*route).to_string());
            }
        }
    }
}

/// When it ends, as the rest of a sentence.
fn end(key: &KeyView) -> String {
    match (key.state, key.grant.expires) {
        (_, None) => String::new(),
        (KeyState::Good, Some(end)) => format!("; until {}", moment(end)),
        (KeyState::Expired, Some(end)) => format!("; expired on {}", moment(end)),
    }
}

/// Tells of a key that was replaced, and works for a while more.
fn tell_earlier(session: &Session, key: &KeyView) {
    if let Some(until) = key.earlier_until
        && !session.terminal.is_json()
    {
        session
            .terminal
            .tell(&format!("The one before works until {}.", moment(until)));
    }
}

fn moment(moment: Timestamp) -> String {
    moment
        .to_zoned(jiff::tz::TimeZone::system())
        .strftime("%Y-%m-%d %H:%M")
        .to_string()
}
