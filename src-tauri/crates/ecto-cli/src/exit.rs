//! What the exit status means.

use std::process::ExitCode;

use ecto_core::cause::{Cause, Remedy, Severity};

/// How a command ended. The numbers are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: it is done.
    Done,
    /// 1: it did not work; the code of the cause says why.
    Failed,
    /// 2: the command was not understood.
    Usage,
    /// 3: a person has to do something first.
    NeedsPerson,
    /// 4: something may be reachable that should not be.
    Danger,
    /// 130: interrupted before it was done.
    Interrupted,
}

impl Exit {
    /// How a command ends for this cause.
    pub fn of(cause: &Cause) -> Self {
        match (cause.severity(), cause.remedy()) {
            (Severity::Danger, _) => Self::Danger,
            (Severity::Quiet, _) | (Severity::Problem, Remedy::Act) => Self::NeedsPerson,
            (Severity::Problem, Remedy::Wait | Remedy::Ask) => Self::Failed,
        }
    }

    /// The number.
    pub fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NeedsPerson => 3,
            Self::Danger => 4,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}
