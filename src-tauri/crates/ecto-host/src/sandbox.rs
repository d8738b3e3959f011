//! The sandbox: a world of stand-ins in this process.

use std::sync::Arc;

use ecto_openclaw::Environment;
use ecto_outside::{Limits, Setup, Trust};
use ecto_platform::folders::Folders;
use ecto_sandbox::Sandbox;
use ecto_tailscale::Places;

use crate::report::{ClientAccess, WorldKind};
use crate::world::{Parts, Variables, World, WorldFault, assemble, sandbox_folder};

/// How long the people at the other end take, so that the journey can be seen.
const PACE: std::time::Duration = std::time::Duration::from_millis(900);

/// Starts the stand-ins and puts a world of them together.
pub(crate) async fn open(folders: &Folders, variables: Variables) -> Result<World, WorldFault> {
    let folder = sandbox_folder(folders);
    let unusable = |fault: &dyn std::fmt::Display| WorldFault::Sandbox(fault.to_string());
    match std::fs::remove_dir_all(&folder) {
        Ok(()) => {}
        Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => {}
        Err(fault) => return Err(unusable(&fault)),
    }
    std::fs::create_dir_all(&folder).map_err(|fault| unusable(&fault))?;
    let sandbox = Sandbox::builder()
        .pace(PACE)
        .start(&folder)
        .await
        .map_err(|fault| unusable(&fault))?;
    let root_certificate = sandbox.root_certificate().to_owned();
    let mut places = Places::of_this_machine(folders.state(), "sandbox", Vec::new());
    places.system_sockets = vec![sandbox.tailnet().socket().to_owned()];
    places.program_folders = Vec::new();
    places.standalone_folder = folder.join("no-app");
    places.application = folder.join("no-app");
    let openclaw = [
        ("HOME".to_owned(), folder.display().to_string()),
        (
            "OPENCLAW_CONFIG_PATH".to_owned(),
            sandbox.gateway().config_path().display().to_string(),
        ),
    ];
    let edge = sandbox.edge().address();
    let sockets = sandbox.edge().dial_table();
    let mut world = assemble(Parts {
        places,
        outside: Setup {
            resolvers: sandbox.edge().resolvers().to_vec(),
            trust: Trust::only_pem(sandbox.edge().root_certificate_pem())
                .map_err(|fault| unusable(&fault))?,
            dial: Arc::new(move |public| sockets.get(&public).copied().unwrap_or(edge)),
            limits: Limits::default(),
        },
        openclaw: Environment::new(openclaw.into_iter().collect(), folder.clone()),
        folders,
        variables: &variables,
        kind: WorldKind::Sandbox,
        client_access: Some(ClientAccess {
            edge,
            root_certificate,
        }),
    })?;
    world.keep = Box::new(sandbox);
    Ok(world)
}
