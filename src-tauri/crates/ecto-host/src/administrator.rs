//! The one administrator prompt, as the tailnet asks for it.

use std::ffi::OsString;
use std::path::Path;

use async_trait::async_trait;
use ecto_core::cause::Cause;
use ecto_platform::administrator::{Administrator, AdministratorFault, Outcome};

/// What the prompt says.
const REASON: &str = "Ecto wants to start Tailscale for the whole Mac.";

/// Asks through the system's own prompt, or tells the command where there is none.
#[derive(Debug, Clone)]
pub struct SystemAdministrator(pub Administrator);

#[async_trait]
impl ecto_tailscale::Administrator for SystemAdministrator {
    async fn run(&self, program: &Path, arguments: &[OsString]) -> Result<(), Cause> {
        match self.0.run(REASON, program, arguments).await {
            Ok(Outcome::Done) => Ok(()),
            Ok(Outcome::Cancelled) => Err(Cause::AdministratorCancelled),
            Ok(Outcome::RunYourself(command)) => Err(Cause::AdministratorNeeded { command }),
            Err(fault) => Err(cause_of(&fault)),
        }
    }
}

fn cause_of(fault: &AdministratorFault) -> Cause {
    // A sentence that ends with its own full stop stands inside another one here.
    let detail = fault.to_string();
    Cause::TailscaleNotStarted {
        detail: detail.trim_end_matches('.').into(),
    }
}
