//! From what tailscaled answers to what a person is told.

use ecto_core::cause::Cause;

use crate::local_api::ApiError;

/// What a person types so that this user may change Tailscale.
const OPERATOR_COMMAND: &str = "sudo tailscale set --operator=$USER";

/// The cause for an error that no step has a better one for.
pub(crate) fn of(error: &ApiError) -> Cause {
    match error {
        ApiError::Absent | ApiError::Cut => Cause::TailscaleLost,
        ApiError::Denied { .. } => Cause::TailscaleDenied {
            command: OPERATOR_COMMAND.to_owned(),
        },
        ApiError::Changed => Cause::ServeConfigContended,
        ApiError::Unreachable { .. } | ApiError::Refused { .. } | ApiError::Protocol { .. } => {
            Cause::TailscaleUnreachable {
                detail: error.to_string().into(),
            }
        }
    }
}

pub(crate) fn unknown_state(state: &str) -> Cause {
    Cause::TailscaleUnreachable {
        detail: format!("it is in a state that Ecto does not know: {state}").into(),
    }
}
