//! What Ecto relies on at its neighbours, as checks that hold for the real ones and for the stand-ins alike.
//!
//! Each check is written once. `tests/contract_real.rs` runs it against the real tailscaled and the real OpenClaw,
//! `tests/contract_sandbox.rs` against the stand-ins of `ecto-sandbox`. Where only the stand-in fails, the stand-in is wrong.

pub mod gateway;
pub mod tailnet;

/// Makes a test of each named check: it is given what the function returns.
#[macro_export]
macro_rules! each_check {
    ($start:path, $module:ident, [$($check:ident),+ $(,)?]) => {
        $(
            #[tokio::test]
            async fn $check() {
                $crate::contract::$module::$check(&$start().await).await;
            }
        )+
    };
}
