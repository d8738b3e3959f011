//! Clicks in Ecto's page as a person does: where the pointer goes is what is clicked.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{LIMIT, LOOK_EVERY, Session};

/// Whether the window is as high as its page, or as it can be: while it grows, what is in it moves.
const FITS: &str = "const { clientHeight, scrollHeight } = document.getElementById('popover'); return clientHeight >= scrollHeight || innerHeight >= 640";

/// Writes down whether the next click reaches what a selector finds.
const LISTEN: &str = "window.clickReached = null; document.addEventListener('click', event => { window.clickReached = event.target.closest(arguments[0]) !== null; }, { capture: true, once: true })";

/// How long a page may take to tell that it was clicked.
const HEARD_WITHIN: Duration = Duration::from_secs(2);

impl Session {
    /// Waits until the window has followed its page.
    ///
    /// # Errors
    ///
    /// Where it does not.
    pub async fn wait_until_it_fits(&self) -> Result<()> {
        let begin = Instant::now();
        while self.execute(FITS, &[]).await? != true {
            if begin.elapsed() > LIMIT {
                bail!("the window does not follow its page");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Waits until the page shows what a selector finds, and clicks it. What moves away or is drawn anew between the press
    /// and the release was not clicked, as a person sees too, and is clicked then.
    ///
    /// # Errors
    ///
    /// Where it cannot be clicked.
    pub async fn click(&self, selector: &str) -> Result<()> {
        let begin = Instant::now();
        loop {
            let element = self.wait_for(selector).await?;
            self.wait_until_it_fits().await?;
            self.execute(LISTEN, &[json!(selector)]).await?;
            let clicked = element.click().await;
            if self.was_reached().await {
                return Ok(());
            }
            if begin.elapsed() > LIMIT {
                bail!("{selector} was not reached: {clicked:?}");
            }
        }
    }

    /// Whether what was listened for was clicked. A page that is gone went with that click.
    async fn was_reached(&self) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < HEARD_WITHIN {
            match self.execute("return window.clickReached", &[]).await {
                Ok(Value::Bool(is_reached)) => return is_reached,
                Ok(_) => tokio::time::sleep(LOOK_EVERY).await,
                Err(_) => return true,
            }
        }
        false
    }
}
