//! A log that a test reads.

use std::io;
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
pub struct KeptLog(Arc<Mutex<Vec<u8>>>);

impl KeptLog {
    /// What was written so far.
    pub fn text(&self) -> String {
        let log = self.0.lock().unwrap();
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl io::Write for KeptLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self
            .0
            .lock()
            .map_err(|_| io::Error::other("a test failed while it wrote"))?;
        log.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
