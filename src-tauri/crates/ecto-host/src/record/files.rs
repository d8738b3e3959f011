//! The files of the record: JSON lines, each file begun at the moment in its name, the newest one being written.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ecto_core::Timestamp;
use ecto_core::key::KeyName;
use ecto_core::ports::RequestLine;
use serde::Deserialize;

const END: &str = ".jsonl";
/// In the order of time when sorted as text.
const MOMENT: &str = "%Y%m%dT%H%M%S%6f";

/// Whose lines. Those without a known key have files of their own: however many come, they push out nothing of what the
/// holders of keys did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Series {
    Holders,
    Strangers,
}

impl Series {
    pub const ALL: [Self; 2] = [Self::Holders, Self::Strangers];

    /// The one that a line belongs to.
    pub fn of(line: &RequestLine) -> Self {
        if line.key.is_some() {
            Self::Holders
        } else {
            Self::Strangers
        }
    }

    fn begin(self) -> &'static str {
        match self {
            Self::Holders => "requests-",
            Self::Strangers => "strangers-",
        }
    }
}

/// How much is kept of the lines of one kind.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// A file of this many bytes is followed by another.
    pub file_bytes: u64,
    /// The oldest files go when all together have more bytes than this.
    pub bytes: u64,
    /// A file goes when its last line is older than this; one holds the lines of a day at most, and counts as old when
    /// its day is.
    pub age: Duration,
}

const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Keeping {
    /// Of the lines of keys.
    pub holders: Bounds,
    /// Of those without a known key.
    pub strangers: Bounds,
    /// How often the age is looked at where nobody calls.
    pub look_every: Duration,
}

impl Default for Keeping {
    /// 30 days, and 32 MiB of lines of keys (about 150,000 requests) in files of 4 MiB, and a quarter of it of others.
    fn default() -> Self {
        let holders = Bounds {
            file_bytes: 4 << 20,
            bytes: 32 << 20,
            age: MONTH,
        };
        Self {
            holders,
            strangers: Bounds {
                file_bytes: holders.file_bytes / 4,
                bytes: holders.bytes / 4,
                ..holders
            },
            look_every: Duration::from_secs(60 * 60),
        }
    }
}

impl Keeping {
    fn of(&self, series: Series) -> Bounds {
        match series {
            Series::Holders => self.holders,
            Series::Strangers => self.strangers,
        }
    }

    /// Removes what is too old or too much. Where there is no folder there is nothing to remove.
    pub(super) fn let_go_of_old(&self, folder: &Path, now: Timestamp) -> io::Result<()> {
        Series::ALL
            .into_iter()
            .try_for_each(|series| let_go_of_old(folder, series, &self.of(series), now))
    }
}

/// The files of one series while they are written.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    series: Series,
    bounds: Bounds,
    writer: BufWriter<File>,
    began: Timestamp,
    length: u64,
}

impl Files {
    /// Goes on with the newest file, or begins one. The folder and the files are for their owner alone.
    pub fn open(
        folder: &Path,
        series: Series,
        keeping: &Keeping,
        now: Timestamp,
    ) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let bounds = keeping.of(series);
        let_go_of_old(folder, series, &bounds, now)?;
        let newest = list(folder, series)?.pop();
        let (path, began) = newest.unwrap_or_else(|| (path_of(folder, series, now), now));
        let (file, length) = open(&path)?;
        let mut files = Self {
            folder: folder.to_owned(),
            series,
            bounds,
            writer: BufWriter::new(file),
            began,
            length,
        };
        files.end_broken_line(&path)?;
        Ok(files)
    }

    /// Whether the file that is written may go, so that it must not be kept open.
    pub fn is_old(&self, now: Timestamp) -> bool {
        end_of_day(self.began) < self.bounds.oldest(now)
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
        let (file, length) = open(&path_of(&self.folder, self.series, began))?;
        self.writer = BufWriter::new(file);
        self.began = began;
        self.length = length;
        let_go_of_old(&self.folder, self.series, &self.bounds, now)
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
}

impl Bounds {
    fn oldest(&self, now: Timestamp) -> Timestamp {
        now.checked_sub(self.age).unwrap_or(Timestamp::MIN)
    }
}

fn let_go_of_old(folder: &Path, series: Series, bounds: &Bounds, now: Timestamp) -> io::Result<()> {
    let oldest = bounds.oldest(now);
    let mut kept = 0;
    let mut next: Option<Timestamp> = None;
    for (path, began) in list(folder, series)?.into_iter().rev() {
        let ended = next.map_or(end_of_day(began), |next| next.min(end_of_day(began)));
        kept += fs::metadata(&path).map_or(0, |found| found.len());
        let is_too_much = next.is_some() && kept > bounds.bytes;
        if ended < oldest || is_too_much {
            fs::remove_file(&path)?;
        }
        next = Some(began);
    }
    Ok(())
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

const DAY: i64 = 24 * 60 * 60;

fn day(moment: Timestamp) -> i64 {
    moment.as_second().div_euclid(DAY)
}

fn is_another_day(began: Timestamp, now: Timestamp) -> bool {
    day(now) > day(began)
}

fn end_of_day(moment: Timestamp) -> Timestamp {
    Timestamp::from_second((day(moment) + 1) * DAY).unwrap_or(Timestamp::MAX)
}

fn path_of(folder: &Path, series: Series, began: Timestamp) -> PathBuf {
    let begin = series.begin();
    folder.join(format!("{begin}{}{END}", began.strftime(MOMENT)))
}

/// The files with the moments at which they begin, oldest first. No folder has none.
fn list(folder: &Path, series: Series) -> io::Result<Vec<(PathBuf, Timestamp)>> {
    let entries = match fs::read_dir(folder) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if let Some(began) = began_of(&path, series) {
            files.push((path, began));
        }
    }
    files.sort();
    Ok(files)
}

fn began_of(path: &Path, series: Series) -> Option<Timestamp> {
    let name = path.file_name()?.to_str()?;
    let moment = name.strip_prefix(series.begin())?.strip_suffix(END)?;
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

/// Reads what is wanted from the record in this folder, in the order of time. No folder is an empty record; a line that
/// cannot be read is left out.
pub fn read(folder: &Path, wanted: &Wanted) -> io::Result<Vec<RequestLine>> {
    Tail::new(folder, wanted.clone()).read()
}

/// The record as it grows.
#[derive(Debug)]
pub struct Tail {
    folder: PathBuf,
    wanted: Wanted,
    places: Option<[Place; Series::ALL.len()]>,
    left_out: usize,
}

/// How far one series was read: a file, and how many of its bytes.
type Place = Option<(PathBuf, u64)>;

impl Tail {
    /// Begins before the first line.
    pub fn new(folder: &Path, wanted: Wanted) -> Self {
        Self {
            folder: folder.to_owned(),
            wanted,
            places: None,
            left_out: 0,
        }
    }

    /// How many lines were wanted and left out of the first reading, because more were there than were asked for.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// What is wanted: at first of all there is, as many as were asked for, then of what came since the last call. Each
    /// line is given once, however the files follow one another meanwhile; where one cannot be read, the next call
    /// begins where this one did.
    pub fn read(&mut self) -> io::Result<Vec<RequestLine>> {
        let limit = match self.places {
            None => self.wanted.limit,
            Some(_) => usize::MAX,
        };
        let mut places = self.places.clone().unwrap_or_default();
        let mut lines = Vec::new();
        let mut dropped = 0;
        for (series, place) in Series::ALL.into_iter().zip(&mut places) {
            let (found, more) = self.read_series(series, place, limit)?;
            lines.extend(found);
            dropped += more;
        }
        self.places = Some(places);
        // A line is written when its request has ended. Within one series the order stays as it is.
        lines.sort_by_key(ended);
        let too_many = lines.len().saturating_sub(limit);
        self.left_out += dropped + too_many;
        Ok(lines.split_off(too_many))
    }

    /// The last lines of one series, at most `limit`, and how many were wanted beside them.
    fn read_series(
        &self,
        series: Series,
        place: &mut Place,
        limit: usize,
    ) -> io::Result<(VecDeque<RequestLine>, usize)> {
        // A listing that is made while files begin may have a newer one without an older one. The next has that.
        let newest = list(&self.folder, series)?.pop();
        let mut files = list(&self.folder, series)?;
        files.retain(|file| Some(file) <= newest.as_ref());
        let mut found = VecDeque::new();
        let mut dropped = 0;
        let ends = files.iter().skip(1).map(|(_, began)| Some(*began));
        for ((path, _), end) in files.iter().zip(ends.chain([None])) {
            let from = match place {
                Some((known, _)) if path < known => continue,
                Some((known, length)) if path == known => *length,
                Some(_) | None => 0,
            };
            let is_before = |since| end.is_some_and(|end| end < since);
            if self.wanted.since.is_some_and(is_before) {
                continue;
            }
            let mut length = from;
            let mut file = match File::open(path) {
                // It went since the files were listed.
                Err(fault) if fault.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            file.seek(SeekFrom::Start(from))?;
            let mut reader = BufReader::new(file);
            let mut text = Vec::new();
            while reader.read_until(b'\n', &mut text)? > 0 && text.ends_with(b"\n") {
                length += text.len() as u64;
                let line = serde_json::from_slice::<RequestLine>(&text).ok();
                if let Some(line) = line.filter(|line| self.wanted.wants(line)) {
                    found.push_back(line);
                    if found.len() > limit {
                        found.pop_front();
                        dropped += 1;
                    }
                }
                text.clear();
            }
            *place = Some((path.clone(), length));
        }
        Ok((found, dropped))
    }
}

/// What is read of a line to know when its key was used.
#[derive(Deserialize)]
struct Use {
    at: Timestamp,
    key: KeyName,
    status: u16,
}

/// When each key was last used, by its name: of the requests with it that are in the record in this folder, those that were
/// neither refused nor failed.
pub fn last_uses(folder: &Path) -> io::Result<BTreeMap<KeyName, Timestamp>> {
    let mut uses = BTreeMap::new();
    for (path, _) in list(folder, Series::Holders)? {
        let mut reader = match File::open(path) {
            // It went since the files were listed.
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => continue,
            file => BufReader::new(file?),
        };
        let mut text = Vec::new();
        while reader.read_until(b'\n', &mut text)? > 0 {
            if let Ok(Use { at, key, status }) = serde_json::from_slice(&text)
                && status < 400
            {
                let last = uses.entry(key).or_insert(at);
                *last = at.max(*last);
            }
            text.clear();
        }
    }
    Ok(uses)
}

/// When the request of a line had its answer.
pub(super) fn ended(line: &RequestLine) -> Timestamp {
    let took = Duration::from_millis(line.milliseconds);
    line.at.checked_add(took).unwrap_or(line.at)
}
