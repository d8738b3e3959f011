//! What Ecto does on the way, and what it waits for.

use crate::step::{Step, Waiting};

/// What a step does, as a line in a list.
pub fn step(step: Step) -> &'static str {
    match step {
        Step::InstallTailscale => "Install Tailscale",
        Step::StartTailscale => "Start Tailscale",
        Step::SignIn => "Sign in to Tailscale",
        Step::AllowFunnel => "Allow Funnel",
        Step::SetUpOpenClaw => "Set up OpenClaw",
        Step::StartOpenClaw => "Start OpenClaw",
        Step::StartGuard => "Start the guard",
        Step::Prove => "Prove that the lock holds",
        Step::Open => "Open the door",
        Step::CheckOutside => "Check from outside",
    }
}

/// What a step waits for.
pub fn waiting(waiting: &Waiting) -> String {
    match waiting {
        Waiting::SignIn { link } => {
            format!("Open this link and sign in to Tailscale: {}", link.as_str())
        }
        Waiting::Approval { link } => format!(
            "An administrator of your Tailscale network has to approve this machine: {}",
            link.as_str()
        ),
        Waiting::FunnelPermission { link } => {
            format!(
                "Open this link and allow Funnel for your Tailscale network: {}",
                link.as_str()
            )
        }
        Waiting::AdministratorPrompt => {
            "Answer the administrator prompt on your screen.".to_owned()
        }
        Waiting::Tailscale => "Waiting for Tailscale to get ready.".to_owned(),
        Waiting::Gateway => "Waiting for the OpenClaw gateway to get ready.".to_owned(),
    }
}
