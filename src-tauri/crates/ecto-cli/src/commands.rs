//! One file a command.

pub mod completions;
mod connect;
mod disconnect;
mod doctor;
mod key;
mod logs;
mod requests;
mod restart;
mod restore;
mod route;
mod serve;
mod skill;
mod status;
mod token;
mod uninstall;

use crate::arguments::{Command, SkillCommand};
use crate::exit::Exit;
use crate::progress;
use crate::session::Session;

/// Runs a command and tells how it ended.
pub async fn run(command: Command, session: &Session) -> Exit {
    let says_so_itself = matches!(command, Command::Status { .. } | Command::Doctor);
    if let Some(world) = progress::world(session.world.kind())
        && !says_so_itself
    {
        session.terminal.tell(&format!("[{world}]"));
    }
    let ended = match command {
        Command::Connect(connect) => connect::run(connect, session).await,
        Command::Status { watch: false } => status::run(session).await,
        Command::Status { watch: true } => status::watch(session).await,
        Command::Disconnect => disconnect::run(session).await,
        Command::Token {
            copy,
            reveal,
            regenerate,
        } => token::run(copy, reveal, regenerate, session).await,
        Command::Key { command } => key::run(command, session).await,
        Command::Route { command } => route::run(command, session).await,
        Command::Restart => restart::run(session).await,
        Command::Logs { follow } => logs::run(follow, session).await,
        Command::Requests(requests) => requests::run(requests, session).await,
        Command::Doctor => doctor::run(session).await,
        Command::Restore => restore::run(session).await,
        Command::Uninstall { yes } => uninstall::run(yes, session).await,
        Command::Serve {
            until_private,
            metrics,
        } => serve::run(until_private, metrics, session).await,
        Command::Skill {
            command: SkillCommand::Install,
        } => skill::install(session),
        Command::Skill {
            command: SkillCommand::Remove,
        } => skill::remove(session),
        Command::Completions { shell } => completions::run(shell).map(|()| Exit::Done),
    };
    ended.unwrap_or_else(|failure| {
        session.terminal.fail(&failure);
        failure.exit()
    })
}
