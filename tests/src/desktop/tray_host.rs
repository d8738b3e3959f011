//! The panel of the desktop: icons register with it over the session bus, and it reads and clicks them.
//!
//! What it speaks is the StatusNotifierItem specification in the form that KDE and everybody after it use, and
//! `com.canonical.dbusmenu` for the menus.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::sync::mpsc;
use zbus::message::Header;
use zbus::names::BusName;
use zbus::object_server::SignalEmitter;
use zbus::proxy::CacheProperties;
use zbus::zvariant::{OwnedObjectPath, OwnedValue, Value};
use zbus::{Connection, Proxy, connection, fdo};

use super::{Display, LIMIT, LOOK_EVERY};

const WATCHER: &str = "org.kde.StatusNotifierWatcher";

/// Where an icon is that has no place of its own.
const USUAL_PLACE: &str = "/StatusNotifierItem";

struct Registered {
    name: String,
    path: String,
    at: Instant,
}

struct Watcher {
    places: Vec<String>,
    registered: mpsc::UnboundedSender<Registered>,
}

#[zbus::interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    async fn register_status_notifier_item(
        &mut self,
        service: String,
        #[zbus(header)] header: Header<'_>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> fdo::Result<()> {
        let at = Instant::now();
        // Some give the path of their object, others a name on the bus.
        let (name, path) = if service.starts_with('/') {
            let sender = header
                .sender()
                .ok_or_else(|| fdo::Error::Failed("who is it?".to_owned()))?;
            (sender.to_string(), service)
        } else {
            (service, USUAL_PLACE.to_owned())
        };
        let place = format!("{name}{path}");
        self.places.push(place.clone());
        let _ = self.registered.send(Registered { name, path, at });
        Self::status_notifier_item_registered(&emitter, &place).await?;
        Ok(())
    }

    fn register_status_notifier_host(&self, _service: &str) {}

    #[zbus(property)]
    fn registered_status_notifier_items(&self) -> Vec<String> {
        self.places.clone()
    }

    #[zbus(property)]
    fn is_status_notifier_host_registered(&self) -> bool {
        true
    }

    #[zbus(property)]
    fn protocol_version(&self) -> i32 {
        0
    }

    #[zbus(signal)]
    async fn status_notifier_item_registered(
        emitter: &SignalEmitter<'_>,
        service: &str,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn status_notifier_item_unregistered(
        emitter: &SignalEmitter<'_>,
        service: &str,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn status_notifier_host_registered(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;
}

/// The panel. It goes when this is dropped.
pub struct TrayHost {
    connection: Connection,
    registered: mpsc::UnboundedReceiver<Registered>,
}

impl TrayHost {
    /// Puts a panel on the desktop.
    ///
    /// # Errors
    ///
    /// Where the bus does not answer, or there is a panel already.
    pub async fn start(display: &Display) -> Result<Self> {
        let (tell, registered) = mpsc::unbounded_channel();
        let watcher = Watcher {
            places: Vec::new(),
            registered: tell,
        };
        let connection = connection::Builder::address(display.bus())?
            .serve_at("/StatusNotifierWatcher", watcher)?
            .name(WATCHER)?
            .build()
            .await?;
        Ok(Self {
            connection,
            registered,
        })
    }

    /// Waits for the next icon.
    ///
    /// # Errors
    ///
    /// Where none registers.
    pub async fn item(&mut self) -> Result<Item> {
        self.item_within(LIMIT).await
    }

    /// Waits this long for the next icon.
    ///
    /// # Errors
    ///
    /// Where none registers.
    pub async fn item_within(&mut self, limit: Duration) -> Result<Item> {
        let registered = tokio::time::timeout(limit, self.registered.recv())
            .await
            .context("no icon registers")?
            .context("the panel has gone")?;
        Ok(Item {
            connection: self.connection.clone(),
            name: registered.name,
            path: registered.path,
            registered: registered.at,
        })
    }
}

/// An icon in the tray.
#[derive(Clone)]
pub struct Item {
    connection: Connection,
    name: String,
    path: String,
    registered: Instant,
}

/// What an icon looks like.
#[derive(Clone, PartialEq, Eq)]
pub enum Icon {
    /// A name in the theme, or a file.
    Named(String),
    /// The largest of the pictures that it gives, in ARGB with the alpha first.
    Pixels {
        /// In pixels.
        width: i32,
        /// In pixels.
        height: i32,
        /// Four bytes a pixel.
        argb: Vec<u8>,
    },
}

impl fmt::Debug for Icon {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(formatter, "Named({name:?})"),
            Self::Pixels { width, height, .. } => write!(formatter, "Pixels({width}x{height})"),
        }
    }
}

/// What is shown while the pointer rests on an icon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolTip {
    /// Its first line.
    pub title: String,
    /// The rest of it.
    pub text: String,
}

/// What a line of a menu is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// It can be clicked, or opens another menu.
    #[default]
    Standard,
    /// A line between two groups.
    Separator,
}

/// A line of a menu; the menu itself is one without a label.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// What it is called on the bus.
    pub id: i32,
    /// What a person reads, without the mark of its access key.
    pub label: String,
    /// What it is.
    pub kind: Kind,
    /// Whether it can be clicked.
    pub enabled: bool,
    /// Whether it is shown.
    pub visible: bool,
    /// Whether it has a tick; `None` where it can have none.
    pub ticked: Option<bool>,
    /// What is below it.
    pub children: Vec<Entry>,
}

impl Entry {
    /// Finds what is called so, at any depth.
    #[must_use]
    pub fn find(&self, label: &str) -> Option<&Self> {
        if self.label == label {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(label))
    }

    /// The labels that are shown, with `--` for a separator.
    #[must_use]
    pub fn labels(&self) -> Vec<&str> {
        self.children
            .iter()
            .filter(|child| child.visible)
            .map(|child| match child.kind {
                Kind::Standard => child.label.as_str(),
                Kind::Separator => "--",
            })
            .collect()
    }
}

type Layout = (i32, HashMap<String, OwnedValue>, Vec<OwnedValue>);
type Pictures = Vec<(i32, i32, Vec<u8>)>;

fn entry((id, properties, children): Layout) -> Result<Entry> {
    let text = |name: &str| {
        properties
            .get(name)
            .and_then(|value| value.downcast_ref::<String>().ok())
            .unwrap_or_default()
    };
    // What is not said is yes.
    let flag = |name: &str| {
        properties
            .get(name)
            .and_then(|value| value.downcast_ref::<bool>().ok())
            .unwrap_or(true)
    };
    let can_be_ticked = !text("toggle-type").is_empty();
    let ticked = properties
        .get("toggle-state")
        .and_then(|value| value.downcast_ref::<i32>().ok())
        .is_some_and(|state| state == 1);
    Ok(Entry {
        id,
        label: without_access_key(&text("label")),
        kind: if text("type") == "separator" {
            Kind::Separator
        } else {
            Kind::Standard
        },
        enabled: flag("enabled"),
        visible: flag("visible"),
        ticked: can_be_ticked.then_some(ticked),
        children: children
            .into_iter()
            .map(|child| entry(Layout::try_from(child)?))
            .collect::<Result<_>>()?,
    })
}

/// One underscore marks the key, two are one that is shown.
fn without_access_key(label: &str) -> String {
    label
        .split("__")
        .map(|part| part.replace('_', ""))
        .collect::<Vec<_>>()
        .join("_")
}

impl Item {
    /// When it registered.
    #[must_use]
    pub fn registered(&self) -> Instant {
        self.registered
    }

    /// The process whose icon it is.
    ///
    /// # Errors
    ///
    /// Where it has gone.
    pub async fn pid(&self) -> Result<u32> {
        let names = fdo::DBusProxy::new(&self.connection).await?;
        Ok(names
            .get_connection_unix_process_id(BusName::try_from(self.name.as_str())?)
            .await?)
    }

    /// Its name in the tray, which never changes.
    ///
    /// # Errors
    ///
    /// Where it does not say.
    pub async fn id(&self) -> Result<String> {
        self.text("Id").await
    }

    /// Its title, for people.
    ///
    /// # Errors
    ///
    /// Where it does not say.
    pub async fn title(&self) -> Result<String> {
        self.text("Title").await
    }

    /// `Active`, `Passive` or `NeedsAttention`.
    ///
    /// # Errors
    ///
    /// Where it does not say.
    pub async fn status(&self) -> Result<String> {
        self.text("Status").await
    }

    /// What is shown while the pointer rests on it.
    ///
    /// # Errors
    ///
    /// Where it has none.
    pub async fn tooltip(&self) -> Result<ToolTip> {
        let (_, _, title, text): (String, Pictures, String, String) =
            self.item().await?.get_property("ToolTip").await?;
        Ok(ToolTip { title, text })
    }

    /// What it looks like.
    ///
    /// # Errors
    ///
    /// Where it gives neither a name nor a picture.
    pub async fn icon(&self) -> Result<Icon> {
        let item = self.item().await?;
        if let Ok(name) = item.get_property::<String>("IconName").await
            && !name.is_empty()
        {
            return Ok(Icon::Named(name));
        }
        let pictures: Pictures = item.get_property("IconPixmap").await?;
        let (width, height, argb) = pictures
            .into_iter()
            .max_by_key(|(width, _, _)| *width)
            .context("it looks like nothing")?;
        Ok(Icon::Pixels {
            width,
            height,
            argb,
        })
    }

    /// Its menu, as a person would see it now.
    ///
    /// # Errors
    ///
    /// Where it has none.
    pub async fn menu(&self) -> Result<Entry> {
        let menu = self.menu_proxy().await?;
        // Not everybody answers this; the layout is right either way.
        let _: zbus::Result<bool> = menu.call("AboutToShow", &(0_i32,)).await;
        let everything: Vec<&str> = Vec::new();
        let (_, layout): (u32, Layout) =
            menu.call("GetLayout", &(0_i32, -1_i32, everything)).await?;
        entry(layout)
    }

    /// Waits until the menu is as wanted.
    ///
    /// # Errors
    ///
    /// Where it does not become so, with the last one.
    pub async fn wait_for_menu(&self, wanted: impl Fn(&Entry) -> bool) -> Result<Entry> {
        let begin = Instant::now();
        loop {
            let menu = self.menu().await?;
            if wanted(&menu) {
                return Ok(menu);
            }
            if begin.elapsed() > LIMIT {
                bail!("the menu stays {:?}", menu.labels());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Clicks a line of its menu.
    ///
    /// # Errors
    ///
    /// Where there is no such line, or it cannot be clicked.
    pub async fn click(&self, label: &str) -> Result<()> {
        let menu = self.menu().await?;
        let found = menu
            .find(label)
            .with_context(|| format!("no {label:?} in {:?}", menu.labels()))?;
        if !found.enabled || !found.visible {
            bail!("{label:?} cannot be clicked");
        }
        // An app that quits at this click is gone before it could answer.
        self.menu_proxy()
            .await?
            .call_noreply("Event", &(found.id, "clicked", Value::from(0_i32), 0_u32))
            .await?;
        Ok(())
    }

    /// Clicks the icon with the left button, at this place on the screen.
    ///
    /// # Errors
    ///
    /// Where it does not take clicks.
    pub async fn activate(&self, x: i32, y: i32) -> Result<()> {
        Ok(self.item().await?.call("Activate", &(x, y)).await?)
    }

    /// Clicks the icon with the middle button.
    ///
    /// # Errors
    ///
    /// Where it does not take clicks.
    pub async fn secondary_activate(&self, x: i32, y: i32) -> Result<()> {
        Ok(self
            .item()
            .await?
            .call("SecondaryActivate", &(x, y))
            .await?)
    }

    /// Clicks the icon with the right button as a panel does: the icon may show a menu by itself (`None`); where it does
    /// not know how, the panel shows the one that it publishes.
    ///
    /// # Errors
    ///
    /// Where there is no menu either.
    pub async fn right_click(&self, x: i32, y: i32) -> Result<Option<Entry>> {
        let asked: zbus::Result<()> = self.item().await?.call("ContextMenu", &(x, y)).await;
        match asked {
            Ok(()) => Ok(None),
            Err(zbus::Error::MethodError(name, _, _))
                if name.as_str() == "org.freedesktop.DBus.Error.UnknownMethod" =>
            {
                let menu = self.menu().await?;
                // What a panel tells once the menu is on the screen.
                self.menu_proxy()
                    .await?
                    .call_noreply("Event", &(0_i32, "opened", Value::from(0_i32), 0_u32))
                    .await?;
                Ok(Some(menu))
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Whether a left click is to open the menu, and nothing else.
    ///
    /// # Errors
    ///
    /// Where it does not say.
    pub async fn is_menu(&self) -> Result<bool> {
        Ok(self.item().await?.get_property("ItemIsMenu").await?)
    }

    /// Waits until it has gone from the bus.
    ///
    /// # Errors
    ///
    /// Where it stays.
    pub async fn gone(&self) -> Result<()> {
        let names = fdo::DBusProxy::new(&self.connection).await?;
        let begin = Instant::now();
        while names
            .name_has_owner(BusName::try_from(self.name.as_str())?)
            .await?
        {
            if begin.elapsed() > LIMIT {
                bail!("the icon stays");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn text(&self, property: &str) -> Result<String> {
        Ok(self.item().await?.get_property(property).await?)
    }

    async fn item(&self) -> Result<Proxy<'_>> {
        self.proxy(self.path.clone(), "org.kde.StatusNotifierItem")
            .await
    }

    async fn menu_proxy(&self) -> Result<Proxy<'_>> {
        let path: OwnedObjectPath = self.item().await?.get_property("Menu").await?;
        self.proxy(path.to_string(), "com.canonical.dbusmenu").await
    }

    async fn proxy(&self, path: String, interface: &'static str) -> Result<Proxy<'_>> {
        Ok(zbus::proxy::Builder::new(&self.connection)
            .destination(self.name.as_str())?
            .path(path)?
            .interface(interface)?
            .cache_properties(CacheProperties::No)
            .build()
            .await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_the_access_key_is_not_read() {
        assert_eq!(without_access_key("_Connect"), "Connect");
        assert_eq!(without_access_key("my__host_name"), "my_hostname");
    }
}
