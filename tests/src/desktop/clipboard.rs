//! What is in the clipboard of the desktop, as another program pastes it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use x11rb::connection::Connection as _;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    AtomEnum, ConnectionExt as _, CreateWindowAux, EventMask, PropMode, SELECTION_NOTIFY_EVENT,
    SelectionNotifyEvent, SelectionRequestEvent, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use super::{Display, LIMIT, LOOK_EVERY};

/// Another program that pastes.
pub struct Clipboard {
    connection: RustConnection,
    window: u32,
}

impl Clipboard {
    /// Opens it on this desktop.
    ///
    /// # Errors
    ///
    /// Where the screen has gone.
    pub fn of(display: &Display) -> Result<Self> {
        let (connection, number) = x11rb::connect(Some(display.name()))?;
        let roots = &connection.setup().roots;
        let root = roots.get(number).context("no screen")?.root;
        let window = connection.generate_id()?;
        connection.create_window(
            x11rb::COPY_DEPTH_FROM_PARENT,
            window,
            root,
            0,
            0,
            1,
            1,
            0,
            WindowClass::INPUT_OUTPUT,
            x11rb::COPY_FROM_PARENT,
            &CreateWindowAux::new(),
        )?;
        Ok(Self { connection, window })
    }

    /// The text in it; empty where there is none.
    ///
    /// # Errors
    ///
    /// Where its owner does not answer.
    pub fn text(&self) -> Result<String> {
        self.content("UTF8_STRING")
    }

    /// What a clipboard history is asked of the content; empty where nothing is. KDE's Klipper keeps nothing that says
    /// `secret`, and others follow it.
    ///
    /// # Errors
    ///
    /// Where its owner does not answer.
    pub fn history_hint(&self) -> Result<String> {
        self.content("x-kde-passwordManagerHint")
    }

    /// The content in this form; empty where there is none.
    fn content(&self, form: &str) -> Result<String> {
        let atom = |name: &[u8]| -> Result<u32> {
            Ok(self.connection.intern_atom(false, name)?.reply()?.atom)
        };
        let (clipboard, form) = (atom(b"CLIPBOARD")?, atom(form.as_bytes())?);
        let property = atom(b"PASTED")?;
        self.connection.convert_selection(
            self.window,
            clipboard,
            form,
            property,
            x11rb::CURRENT_TIME,
        )?;
        self.connection.flush()?;
        let answer = self.answer()?;
        if answer.property == x11rb::NONE {
            return Ok(String::new());
        }
        let value = self
            .connection
            .get_property(true, self.window, property, AtomEnum::ANY, 0, u32::MAX)?
            .reply()?
            .value;
        Ok(String::from_utf8(value)?)
    }

    /// Copies a text as another program does, and hands it to whoever pastes until something else is copied.
    ///
    /// # Errors
    ///
    /// Where the screen has gone.
    pub fn copy(self, text: &str) -> Result<()> {
        let atom = |name: &[u8]| -> Result<u32> {
            Ok(self.connection.intern_atom(false, name)?.reply()?.atom)
        };
        let (clipboard, form) = (atom(b"CLIPBOARD")?, atom(b"UTF8_STRING")?);
        self.connection
            .set_selection_owner(self.window, clipboard, x11rb::CURRENT_TIME)?;
        self.connection.sync()?;
        let text = text.to_owned();
        std::thread::spawn(move || {
            while let Ok(event) = self.connection.wait_for_event() {
                if let Event::SelectionRequest(asked) = event {
                    // Whoever asked may have gone.
                    let _ = self.hand_over(&asked, form, &text);
                } else if let Event::SelectionClear(_) = event {
                    return;
                }
            }
        });
        Ok(())
    }

    fn hand_over(&self, asked: &SelectionRequestEvent, form: u32, text: &str) -> Result<()> {
        let property = if asked.target == form {
            self.connection.change_property8(
                PropMode::REPLACE,
                asked.requestor,
                asked.property,
                form,
                text.as_bytes(),
            )?;
            asked.property
        } else {
            x11rb::NONE
        };
        let answer = SelectionNotifyEvent {
            response_type: SELECTION_NOTIFY_EVENT,
            sequence: 0,
            time: asked.time,
            requestor: asked.requestor,
            selection: asked.selection,
            target: asked.target,
            property,
        };
        self.connection
            .send_event(false, asked.requestor, EventMask::NO_EVENT, answer)?;
        Ok(self.connection.flush()?)
    }

    fn answer(&self) -> Result<SelectionNotifyEvent> {
        let begin = Instant::now();
        loop {
            if let Some(Event::SelectionNotify(answer)) = self.connection.poll_for_event()? {
                return Ok(answer);
            }
            if begin.elapsed() > LIMIT {
                bail!("who copied does not answer");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until the text is as wanted, and gives it.
    ///
    /// # Errors
    ///
    /// Where it does not become so. The text may be a secret and is not told.
    pub async fn wait_for(&self, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let begin = Instant::now();
        loop {
            let text = self.text()?;
            if wanted(&text) {
                return Ok(text);
            }
            if begin.elapsed() > LIMIT {
                bail!("the clipboard holds something else");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
