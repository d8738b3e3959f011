//! The app on a desktop: puts everything together and lets what changes be seen.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ecto_host::report::Report;
use tauri::{AppHandle, Manager, RunEvent};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use crate::application::{Application, CopyWhat};
use crate::hosting::Quit;
use crate::instance::Instance;
use crate::launch::{Launch, Options};
use crate::login::Login;
use crate::notice::{self, Notification, Teller};
use crate::popover::{self, Manner, Popover};
use crate::refusal::Refusal;
use crate::tray::menu::Action;
use crate::view::AppView;
use crate::{commands, notification, power, tray};

/// How long the clipboard may take while the app ends.
const CLIPBOARD_LIMIT: Duration = Duration::from_secs(2);

/// How long the desktop may take for a notification while the app ends.
const TELLING_LIMIT: Duration = Duration::from_secs(2);

/// A notification that waits for its turn.
enum Waiting {
    Notification(Notification),
    /// The last one, with whom to tell once the desktop has taken it.
    Last(Notification, oneshot::Sender<()>),
}

/// Runs the app until it is quit.
pub fn run(options: Options) -> ExitCode {
    let launch = match Launch::prepare(options, |name| std::env::var_os(name)) {
        Ok(launch) => launch,
        Err(refusal) => return refused(&refusal),
    };
    let instance = match tauri::async_runtime::block_on(Instance::begin(&launch)) {
        Ok(Some(instance)) => instance,
        // Another one was running already, and shows itself now.
        Ok(None) => return ExitCode::SUCCESS,
        Err(refusal) => return refused(&refusal),
    };
    let _log = ecto_cli::logging::start(launch.folders.logs());
    match build(launch, instance) {
        Ok(app) => {
            app.run(on_event);
            ExitCode::SUCCESS
        }
        Err(fault) => refused(&Refusal::new(
            "no_desktop",
            format!("The app could not be shown on this desktop: {fault}."),
            "It was started where nothing can be shown; in this terminal, run: ecto connect",
        )),
    }
}

#[expect(
    clippy::print_stderr,
    reason = "there is no window to say it in, and it may have been started from a terminal"
)]
fn refused(refusal: &Refusal) -> ExitCode {
    eprintln!("{refusal}");
    ExitCode::FAILURE
}

fn build(launch: Launch, instance: Instance) -> tauri::Result<tauri::App> {
    let login = Login::find(&launch.options, |name| std::env::var_os(name));
    let (application, reports) = Application::new(launch, login);
    let builder = tauri::Builder::default();
    #[cfg(target_os = "linux")]
    let builder = builder.manage(notification::Desktop::default());
    #[cfg(target_os = "macos")]
    let builder = builder
        .plugin(tauri_nspanel::init())
        .menu(crate::macos::menu::build)
        // At login somebody may already be typing elsewhere.
        .activate_ignoring_other_apps(false);
    builder
        .manage(Arc::clone(&application))
        .manage(Popover::default())
        .manage(tray::Shown::default())
        .invoke_handler(commands::handler())
        .on_window_event(popover::on_window_event)
        .setup(move |app| {
            #[cfg(target_os = "macos")]
            app.set_activation_policy(tauri::ActivationPolicy::Accessory);
            let app = app.handle();
            #[cfg(target_os = "macos")]
            crate::macos::notification::follow_clicks(app);
            put_icon(app);
            match (application.view().first_run, tray::is_there(app)) {
                (true, true) => popover::show(app, None, Manner::Popover, None),
                (true, false) => popover::show(app, None, Manner::Window, None),
                (false, true) => {}
                (false, false) => {
                    let shown = show_without_tray(app.clone(), application.views());
                    tauri::async_runtime::spawn(shown);
                }
            }
            start(app, &application, reports, instance);
            Ok(())
        })
        .build(tauri::generate_context!())
}

fn start(
    app: &AppHandle,
    application: &Arc<Application>,
    reports: watch::Receiver<Report>,
    instance: Instance,
) {
    tauri::async_runtime::spawn(show_changes(app.clone(), application.views()));
    let (show, shown) = mpsc::unbounded_channel();
    tauri::async_runtime::spawn(show_in_turn(app.clone(), shown));
    let (looked_at, show_last) = (app.clone(), show.clone());
    let tell = move |told| {
        if !popover::is_looked_at(&looked_at) {
            let _ = show.send(Waiting::Notification(told));
        }
    };
    tauri::async_runtime::spawn(take_reports(Arc::clone(application), reports, tell));
    tauri::async_runtime::spawn(take_silence(Arc::clone(application)));
    tauri::async_runtime::spawn(show_when_asked(app.clone(), instance));
    tauri::async_runtime::spawn(power::follow(Arc::clone(application)));
    #[cfg(target_os = "macos")]
    tauri::async_runtime::spawn(power::stay_awake(application.views()));
    tauri::async_runtime::spawn(end_when_signalled(Arc::clone(application)));
    #[cfg(target_os = "linux")]
    tauri::async_runtime::spawn(tray::host::follow(app.clone()));
    let hosting = Arc::clone(&application.hosting);
    let application = Arc::clone(application);
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        loop {
            Arc::clone(&hosting).keep().await;
            if application.ends_after_host().await {
                tell_what_is_left_undone(&show_last, &application).await;
                return app.exit(0);
            }
            hosting.begin_again();
        }
    });
}

/// Tells why the host did not end as it should: once the app has ended, nobody else does.
async fn tell_what_is_left_undone(
    show: &mpsc::UnboundedSender<Waiting>,
    application: &Application,
) {
    let Some(cause) = application.hosting.left_undone() else {
        return;
    };
    if !application.view().preferences.notifications {
        return;
    }
    let (taken, told) = oneshot::channel();
    let _ = show.send(Waiting::Last(notice::at_the_end(&cause), taken));
    if !matches!(tokio::time::timeout(TELLING_LIMIT, told).await, Ok(Ok(()))) {
        tracing::warn!("nobody was told why Ecto did not end as it should");
    }
}

/// Ends the app when the system asks for it, whether or not a host runs then.
async fn end_when_signalled(application: Arc<Application>) {
    let mut terminate = signal(SignalKind::terminate()).ok();
    let mut interrupt = signal(SignalKind::interrupt()).ok();
    tokio::select! {
        () = heard(&mut terminate) => {}
        () = heard(&mut interrupt) => {}
    }
    application.quit(Quit::System);
}

async fn heard(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Shows the window where no icon comes. At login the panel with the icons may begin after Ecto.
async fn show_without_tray(app: AppHandle, mut views: watch::Receiver<AppView>) {
    let application = Arc::clone(&app.state::<Arc<Application>>());
    let waits = Duration::from_secs(application.launch.options.tray_comes);
    let tray = views.wait_for(|view| view.tray);
    if tokio::time::timeout(waits, tray).await.is_ok() {
        return;
    }
    let shown = app.clone();
    // Windows are made on the main thread alone.
    let _ = app.run_on_main_thread(move || {
        if !popover::is_seen(&shown) {
            popover::show(&shown, None, Manner::Window, None);
        }
    });
}

fn on_event(app: &AppHandle, event: RunEvent) {
    match event {
        // Most of the time there is no window; that is no reason to end.
        RunEvent::ExitRequested {
            api, code: None, ..
        } => api.prevent_exit(),
        RunEvent::Exit => {
            let application = Arc::clone(&app.state::<Arc<Application>>());
            let cleared = async move {
                tokio::time::timeout(CLIPBOARD_LIMIT, application.clear_copied()).await
            };
            if tauri::async_runtime::block_on(cleared).is_err() {
                tracing::warn!("the clipboard did not answer while Ecto ended");
            }
        }
        #[cfg(target_os = "macos")]
        RunEvent::Reopen { .. } => popover::show(app, None, Manner::Window, None),
        _ => {
            let _ = app;
        }
    }
}

/// Puts the icon in its place where it is not there, and remembers whether it is.
fn put_icon(app: &AppHandle) {
    let application = app.state::<Arc<Application>>();
    if !tray::is_there(app)
        && let Err(fault) = tray::build(app, &application.view())
    {
        tracing::warn!(%fault, "there is no place for an icon on this desktop");
    }
    application.take_tray(tray::is_there(app));
}

/// A tray host came or went. The icon registers with a new one by itself, once it was made.
#[cfg(target_os = "linux")]
pub fn tray_host_changed(app: &AppHandle, appeared: bool) {
    if appeared {
        put_icon(app);
    } else {
        let application = app.state::<Arc<Application>>();
        application.take_tray(false);
        // A panel that is only started anew takes its icons back.
        let shown = show_without_tray(app.clone(), application.views());
        tauri::async_runtime::spawn(shown);
    }
}

/// Takes over what the host reports, and tells what is worth a notification.
async fn take_reports(
    application: Arc<Application>,
    mut reports: watch::Receiver<Report>,
    tell: impl Fn(Notification),
) {
    // What came before this began is still to be taken over, and is no news.
    let mut teller = Teller::new(reports.borrow().clone());
    while reports.changed().await.is_ok() {
        let after = reports.borrow_and_update().clone();
        let told = teller.next(&after);
        application.take_report(after);
        // Whether it still holds is judged by what was taken over.
        if let Some(told) = told {
            tell(told);
        }
    }
}

/// Shows one notification after the other, where they are wanted and still hold: the desktop may take its time.
async fn show_in_turn(app: AppHandle, mut notifications: mpsc::UnboundedReceiver<Waiting>) {
    while let Some(waiting) = notifications.recv().await {
        let application = app.state::<Arc<Application>>();
        let view = application.view();
        if !view.preferences.notifications {
            continue;
        }
        match waiting {
            // The icon tells the same where the desktop takes no notification.
            Waiting::Notification(told) if told.holds(&view.report) => {
                let _ = notification::show(&app, told).await;
            }
            Waiting::Notification(_) => {}
            Waiting::Last(told, taken) => {
                if notification::show_last(&app, told).await.is_ok() {
                    let _ = taken.send(());
                }
            }
        }
    }
}

async fn take_silence(application: Arc<Application>) {
    let mut silence = application.hosting.silence();
    while silence.changed().await.is_ok() {
        let silent = *silence.borrow_and_update();
        application.take_silence(silent);
    }
}

async fn show_changes(app: AppHandle, mut views: watch::Receiver<AppView>) {
    while views.changed().await.is_ok() {
        let view = views.borrow_and_update().clone();
        tray::show(&app, &view);
        if popover::is_seen(&app) {
            popover::tell(&app, &view);
        }
    }
}

async fn show_when_asked(app: AppHandle, mut instance: Instance) {
    let application = Arc::clone(&app.state::<Arc<Application>>());
    loop {
        tokio::select! {
            () = instance.asked() => {}
            () = application.is_unsettled() => {
                if let Err(refusal) = instance.take_again(&application.launch) {
                    tracing::warn!(%refusal, "another start may not find this app");
                }
                continue;
            }
            // Whoever starts it now waits until it has ended, and is the only one then.
            () = application.leaves() => return std::future::pending().await,
        }
        let shown = app.clone();
        // Windows are made on the main thread alone.
        let _ = app.run_on_main_thread(move || popover::show(&shown, None, Manner::Window, None));
    }
}

/// Does what was chosen in the menu.
pub fn act(app: &AppHandle, action: Action) {
    let application = Arc::clone(&app.state::<Arc<Application>>());
    match action {
        Action::Open => return popover::show(app, None, Manner::Popover, None),
        Action::Settings => return popover::show(app, None, Manner::Popover, Some("settings")),
        Action::Quit => return application.quit(Quit::Person),
        Action::Connect
        | Action::Disconnect
        | Action::CopyUrl
        | Action::CopyKey
        | Action::CopyCurl
        | Action::OpenAtLogin => {}
    }
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        let done = do_chosen(&application, action).await;
        if action == Action::OpenAtLogin {
            tray::forget(&app);
            application.show_again();
        }
        if let Err(refusal) = done
            && notification::show(&app, told_of(&refusal)).await.is_err()
        {
            application.take_refusal(Some(refusal));
            open(&app);
        }
    });
}

fn told_of(refusal: &Refusal) -> Notification {
    Notification {
        title: refusal.what.clone(),
        body: refusal.next.clone().unwrap_or_default(),
        says_open: false,
    }
}

/// What was asked for in the page and may take long: where it is refused when nobody looks at the page any more, the desktop
/// tells, and so does the next opening.
pub fn tell_if_unseen<T>(app: &AppHandle, done: Result<T, Refusal>) -> Result<T, Refusal> {
    if let Err(refusal) = &done
        && !popover::is_looked_at(app)
    {
        let application = app.state::<Arc<Application>>();
        application.take_refusal(Some(refusal.clone()));
        if application.view().preferences.notifications {
            let (app, told) = (app.clone(), told_of(refusal));
            // The desktop may take its time, and the page waits for its answer.
            tauri::async_runtime::spawn(async move {
                let _ = notification::show(&app, told).await;
            });
        }
    }
    done
}

/// Shows the popover, or the window where there is no icon, from any thread.
pub fn open(app: &AppHandle) {
    let shown = app.clone();
    // Windows are made on the main thread alone.
    let _ = app.run_on_main_thread(move || {
        let has_icon = shown.state::<Arc<Application>>().view().tray;
        let manner = if has_icon {
            Manner::Popover
        } else {
            Manner::Window
        };
        popover::show(&shown, None, manner, None);
    });
}

async fn do_chosen(application: &Application, action: Action) -> Result<(), Refusal> {
    match action {
        Action::Connect => application.connect_as_before().await,
        Action::Disconnect => application.disconnect().await,
        Action::CopyUrl => application.copy(CopyWhat::Url).await,
        Action::CopyKey => application.copy(CopyWhat::Key).await,
        Action::CopyCurl => application.copy(CopyWhat::Curl).await,
        Action::OpenAtLogin => {
            // The tick may be older than what was chosen in the system's settings.
            application.look_again();
            let on = application.view().launch_at_login == crate::view::LoginItem::On;
            application.set_launch_at_login(!on).map(|_| ())
        }
        Action::Open | Action::Settings | Action::Quit => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::view_of;

    #[tokio::test]
    async fn what_the_host_reported_before_anybody_listened_is_shown_and_is_no_news() {
        let home = tempfile::tempdir().unwrap();
        let options = Options::of_app(["ecto".into(), "--sandbox".into()]).unwrap();
        let login = Login::find(&options, |_| None);
        let of_home = |name: &str| (name == "HOME").then(|| home.path().into());
        let (application, _) = Application::new(Launch::prepare(options, of_home).unwrap(), login);
        let report = view_of("public").report;
        let reports = watch::Sender::new(application.view().report);
        let received = reports.subscribe();
        reports.send_replace(report.clone());
        drop(reports);
        let is_told = |news| panic!("{news:?}");
        take_reports(Arc::clone(&application), received, is_told).await;
        let view = application.view();
        assert!(!view.starting);
        assert_eq!(view.report, report);
    }
}
