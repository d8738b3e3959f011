//! The files of the record: JSON lines, each file begun at the moment in its name, the newest one being written.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ecto_core::Timestamp;
use ecto_core::ports::RequestLine;

const BEGIN: &str = "requests-";
const END: &str = ".jsonl";
/// In the order of time when sorted as text.
const MOMENT: &str = "%Y%m%dT%H%M%S%6f";

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// A file of this many bytes is followed by another.
    pub file_bytes: u64,
    /// The oldest files go when all together have more bytes than this.
    pub bytes: u64,
    /// Files go when their last line is older than this; looked at whenever a file is begun, which every day's first
    /// request does.
    pub age: Duration,
}

impl Default for Bounds {
    /// 30 days and 32 MiB, in files of 4 MiB: about 150,000 requests.
    fn default() -> Self {
        Self {
            file_bytes: 4 << 20,
            bytes: 32 << 20,
            age: Duration::from_secs(30 * 24 * 60 * 60),
        }
    }
}

/// The files while they are written.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    bounds: Bounds,
    writer: BufWriter<File>,
    began: Timestamp,
    length: u64,
}

impl Files {
    /// Goes on with the newest file, or begins one. The folder and the files are for their owner alone.
    pub fn open(folder: &Path, bounds: Bounds, now: Timestamp) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let newest = list(folder)?.pop();
        let (path, began) = newest.unwrap_or_else(|| (path_of(folder, now), now));
        let (file, length) = open(&path)?;
        let mut files = Self {
            folder: folder.to_owned(),
            bounds,
            writer: BufWriter::new(file),
            began,
            length,
        };
        files.end_broken_line(&path)?;
        files.let_go_of_old(now)?;
        Ok(files)
    }

    /// Adds one line.
    pub fn write(&mut self, line: &RequestLine) -> io::Result<()> {
        if self.length >= self.bounds.file_bytes || is_another_day(self.began, line.at) {
            self.begin_another(line.at)?;
        }
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.writer.write_all(&text)?;
        self.length += text.len() as u64;
        Ok(())
    }

    /// Lets readers see what was written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn begin_another(&mut self, now: Timestamp) -> io::Result<()> {
        self.writer.flush()?;
        // A clock that was set back must not make a name that sorts before the others.
        let began = now.max(
            self.began
                .checked_add(Duration::from_micros(1))
                .unwrap_or(now),
        );
        let (file, length) = open(&path_of(&self.folder, began))?;
        self.writer = BufWriter::new(file);
        self.began = began;
        self.length = length;
        self.let_go_of_old(now)
    }

    /// A line that a crash broke off must not swallow the next one.
    fn end_broken_line(&mut self, path: &Path) -> io::Result<()> {
        if self.length == 0 {
            return Ok(());
        }
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            self.writer.write_all(b"\n")?;
            self.length += 1;
        }
        Ok(())
    }

    fn let_go_of_old(&self, now: Timestamp) -> io::Result<()> {
        let files = list(&self.folder)?;
        let mut kept = 0;
        let oldest = now.checked_sub(self.bounds.age).unwrap_or(Timestamp::MIN);
        let mut ended: Option<Timestamp> = None;
        for (path, began) in files.into_iter().rev() {
            let is_old = ended.is_some_and(|ended| ended < oldest);
            kept += fs::metadata(&path).map_or(0, |found| found.len());
            let is_newest = ended.is_none();
            if !is_newest && (is_old || kept > self.bounds.bytes) {
                fs::remove_file(&path)?;
            }
            ended = Some(began);
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

fn is_another_day(began: Timestamp, now: Timestamp) -> bool {
    const DAY: i64 = 24 * 60 * 60;
    now.as_second().div_euclid(DAY) > began.as_second().div_euclid(DAY)
}

fn path_of(folder: &Path, began: Timestamp) -> PathBuf {
    folder.join(format!("{BEGIN}{}{END}", began.strftime(MOMENT)))
}

/// The files with the moments at which they begin, oldest first.
fn list(folder: &Path) -> io::Result<Vec<(PathBuf, Timestamp)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(began) = began_of(&path) {
            files.push((path, began));
        }
    }
    files.sort();
    Ok(files)
}

fn began_of(path: &Path) -> Option<Timestamp> {
    let name = path.file_name()?.to_str()?;
    let moment = name.strip_prefix(BEGIN)?.strip_suffix(END)?;
    let civil = jiff::civil::DateTime::strptime(MOMENT, moment).ok()?;
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp())
}

/// Which lines are wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Those from this moment on.
    pub since: Option<Timestamp>,
    /// Those with the key of this name.
    pub key: Option<String>,
    /// The last so many of them.
    pub limit: usize,
}

impl Wanted {
    fn wants(&self, line: &RequestLine) -> bool {
        self.since.is_none_or(|since| line.at >= since)
            && (self.key.is_none() || self.key == line.key)
    }
}

/// Reads what is wanted from the record in this folder, oldest first. No folder is an empty record; a line that cannot be
/// read is left out.
pub fn read(folder: &Path, wanted: &Wanted) -> io::Result<Vec<RequestLine>> {
    let files = match list(folder) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        files => files?,
    };
    let mut found = VecDeque::new();
    let ends = files.iter().skip(1).map(|(_, began)| Some(*began));
    for ((path, _), end) in files.iter().zip(ends.chain([None])) {
        let is_before = |since| end.is_some_and(|end| end < since);
        if wanted.since.is_some_and(is_before) {
            continue;
        }
        for text in BufReader::new(File::open(path)?).split(b'\n') {
            let Ok(line) = serde_json::from_slice::<RequestLine>(&text?) else {
                continue;
            };
            if wanted.wants(&line) {
                found.push_back(line);
                if found.len() > wanted.limit {
                    found.pop_front();
                }
            }
        }
    }
    Ok(found.into())
}

/// The end of the record, as it grows.
#[derive(Debug)]
pub struct Tail {
    folder: PathBuf,
    wanted: Wanted,
    at: Option<(PathBuf, u64)>,
}

impl Tail {
    /// Begins at the end of what there is now.
    pub fn new(folder: &Path, wanted: Wanted) -> Self {
        let at = list(folder).ok().and_then(|mut files| files.pop());
        let at = at.map(|(path, _)| {
            let length = fs::metadata(&path).map_or(0, |found| found.len());
            (path, length)
        });
        Self {
            folder: folder.to_owned(),
            wanted,
            at,
        }
    }

    /// The wanted lines that came since the last call.
    pub fn read(&mut self) -> io::Result<Vec<RequestLine>> {
        let files = match list(&self.folder) {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files?,
        };
        let mut lines = Vec::new();
        for (path, _) in files {
            let from = match &self.at {
                Some((known, _)) if path < *known => continue,
                Some((known, length)) if path == *known => *length,
                Some(_) | None => 0,
            };
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let whole = bytes
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1);
            let texts = bytes[..whole].split(|byte| *byte == b'\n');
            lines.extend(
                texts
                    .filter_map(|text| serde_json::from_slice::<RequestLine>(text).ok())
                    .filter(|line| self.wanted.wants(line)),
            );
            self.at = Some((path, from + whole as u64));
        }
        Ok(lines)
    }
}
