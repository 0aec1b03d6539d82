//! The journal: trials that have ended since the tables were written, in a folder with one file a writer.
//!
//! A file is a header, [`HEADER`], whose last character is the version, and then records. A record is [`MARK`], the
//! length of its payload (u32), the first eight bytes of the BLAKE3 digest of length and payload, and the payload, a
//! [`Record`] as JSON; numbers are little-endian. Files are only appended to, so a process that dies leaves at most
//! half a record, at the end. What is damaged elsewhere is stepped over, and both are reported.

use super::checkpoint;
use super::files::{create_inside, is_file, sync_folder_of};
use super::record::Record;
use super::{StoreError, Sync};
use crate::spec::source::read_so_far;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{JoinHandle, ScopedJoinHandle};
use std::time::Duration;

/// The folder of journals in a result folder.
pub const FOLDER: &str = "journal";

/// What a file begins with.
pub const HEADER: [u8; 8] = *b"runnerj1";

/// What a record begins with.
pub const MARK: [u8; 4] = [0xd1, b'r', b'e', b'c'];

/// Bytes of a record before its payload.
pub const FRAME: usize = 16;

/// How far the disk is behind what was written, at most, as long as it keeps up.
const BEHIND: Duration = Duration::from_millis(100);

/// Files that may wait for the disk; more of them and the writer waits too.
const WAITING: usize = 4096;

/// A place of a journal that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Which of its bytes.
    pub bytes: Range<usize>,
    /// Whether it is the end of the file, where a process was killed while it wrote.
    pub torn: bool,
}

/// What the journals of a folder hold.
#[derive(Debug, Default)]
pub struct Journals {
    /// The records, those of earlier files first.
    pub records: Vec<Record>,
    /// What could not be read.
    pub damages: Vec<Damage>,
    /// The files, in their order.
    pub files: Vec<PathBuf>,
}

/// Why a file is no journal that this program reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It begins with something else.
    #[error("this is not a journal")]
    Foreign,
    /// A later program wrote it.
    #[error("this journal is of a later version than this program knows")]
    Later,
}

/// Reads all journals of a folder.
pub fn read(dir: &Path) -> Result<Journals, StoreError> {
    let mut contents = Journals { files: files(dir)?, ..Journals::default() };
    for path in &contents.files {
        let failed = |error: String| StoreError::Manifest { path: path.clone(), error };
        if !is_file(path) {
            return Err(failed(HeaderError::Foreign.to_string()));
        }
        let bytes = read_so_far(path).map_err(|error| StoreError::Io { path: path.clone(), error: error.into() })?;
        let Pieces { payloads, gaps } = split(&bytes).map_err(|error| failed(error.to_string()))?;
        for payload in payloads {
            let record: serde_json::Result<Record> = serde_json::from_slice(&bytes[payload.clone()]);
            let record = record.map_err(|error| failed(format!("at byte {}: {error}", payload.start)))?;
            record.check().map_err(|error| failed(format!("at byte {}: {error}", payload.start)))?;
            contents.records.push(record);
        }
        let damage = |gap: Range<usize>| Damage { path: path.clone(), torn: gap.end == bytes.len(), bytes: gap };
        contents.damages.extend(gaps.into_iter().map(damage));
    }
    Ok(contents)
}

/// The journals of a folder, in the order of their numbers.
fn files(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let folder = dir.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::Io { path: folder, error }),
    };
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut numbered: Vec<(u64, PathBuf)> = paths.filter_map(|path| Some((number(&path)?, path))).collect();
    numbered.sort();
    Ok(numbered.into_iter().map(|(_, path)| path).collect())
}

fn number(path: &Path) -> Option<u64> {
    let log = path.extension().is_some_and(|extension| extension == "log");
    path.file_stem()?.to_str()?.parse().ok().filter(|_| log)
}

/// The parts of a journal, as ranges of its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pieces {
    /// The payloads of its records.
    pub payloads: Vec<Range<usize>>,
    /// What cannot be read.
    pub gaps: Vec<Range<usize>>,
}

/// Where the payloads of a journal lie, and the gaps between them that are damaged.
pub fn split(bytes: &[u8]) -> Result<Pieces, HeaderError> {
    let begun = bytes.len().min(HEADER.len());
    if bytes[..begun] != HEADER[..begun] {
        let same_kind = bytes.len() >= HEADER.len() && bytes[..HEADER.len() - 1] == HEADER[..HEADER.len() - 1];
        return Err(if same_kind { HeaderError::Later } else { HeaderError::Foreign });
    }
    let mut split = Pieces::default();
    if begun < HEADER.len() {
        split.gaps.extend((begun > 0).then_some(0..begun));
        return Ok(split);
    }
    let mut at = HEADER.len();
    while at < bytes.len() {
        match payload(bytes, at) {
            Some(range) => {
                at = range.end;
                split.payloads.push(range);
            }
            None => {
                let next = (at + 1..bytes.len()).find(|&next| payload(bytes, next).is_some()).unwrap_or(bytes.len());
                split.gaps.push(at..next);
                at = next;
            }
        }
    }
    Ok(split)
}

/// The payload of the record that begins at a byte, if one does and it is whole.
///
/// A payload is text in UTF-8, in which a [`MARK`] does not occur, so that a record ends before the next one begins. So
/// a byte lies in the payloads of at most four places that look like a beginning, which are those less than a frame
/// before the last mark; looking for the next record takes time that is linear in the length, whatever is damaged.
fn payload(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let frame = bytes.get(at..at + FRAME)?;
    if frame[..MARK.len()] != MARK {
        return None;
    }
    let length = u32::from_le_bytes(frame[4..8].try_into().ok()?) as usize;
    let range = at + FRAME..(at + FRAME).checked_add(length)?;
    let payload = bytes.get(range.clone())?;
    let marked = payload.windows(MARK.len()).any(|bytes| bytes == MARK);
    (!marked && digest(payload) == frame[8..FRAME]).then_some(range)
}

fn digest(payload: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(payload.len() as u32).to_le_bytes());
    hasher.update(payload);
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    first
}

/// A record with its frame.
pub fn framed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FRAME + payload.len());
    bytes.extend(MARK);
    bytes.extend((payload.len() as u32).to_le_bytes());
    bytes.extend(digest(payload));
    bytes.extend(payload);
    bytes
}

/// The journal that this process appends to.
pub struct Writer {
    dir: PathBuf,
    file: Arc<File>,
    path: PathBuf,
    sync: Sync,
    behind: Option<Behind>,
}

impl Writer {
    /// A new journal, after those that are there.
    pub fn create(dir: &Path, sync: Sync) -> Result<Writer, StoreError> {
        create_inside(dir, FOLDER)?;
        let last = files(dir)?.last().and_then(|path| number(path));
        let path = dir.join(FOLDER).join(format!("{}.log", last.map_or(0, |last| last.saturating_add(1))));
        let failed = |error| StoreError::Io { path: path.clone(), error };
        let mut file = OpenOptions::new().create_new(true).append(true).open(&path).map_err(failed)?;
        file.write_all(&HEADER).map_err(failed)?;
        sync_folder_of(&path)?;
        let file = Arc::new(file);
        let behind = (sync == Sync::Group).then(|| Behind::begin(dir.into(), file.clone(), path.clone()));
        Ok(Writer { dir: dir.into(), file, path, sync, behind })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a record. The disk has `before`, the weights, before it has the record, and the trial's checkpoint goes
    /// when it has both.
    pub fn append(&mut self, record: &Record, before: Option<PathBuf>) -> Result<(), StoreError> {
        let failed = |error| StoreError::Io { path: self.path.clone(), error };
        let payload = serde_json::to_vec(record)
            .map_err(|e| StoreError::Manifest { path: self.path.clone(), error: e.to_string() })?;
        if self.sync == Sync::Every {
            before.iter().try_for_each(|path| sync_file(path))?;
        }
        (&*self.file).write_all(&framed(&payload)).map_err(failed)?;
        match &self.behind {
            Some(behind) => behind.dirty(&record.trial, before),
            None => {
                self.file.sync_data().map_err(failed)?;
                checkpoint::forget(&self.dir, &record.trial)
            }
        }
    }

    /// Waits until the disk has everything.
    pub fn finish(mut self) -> Result<(), StoreError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), StoreError> {
        self.behind.take().map_or(Ok(()), Behind::end)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Whoever wants to know whether the disk has all of it calls `finish`.
        let _ = self.end();
    }
}

/// Makes a file and its name durable.
fn sync_file(path: &Path) -> Result<(), StoreError> {
    let synced = File::open(path).and_then(|file| file.sync_data());
    synced.map_err(|error| StoreError::Io { path: path.into(), error })?;
    sync_folder_of(path)
}

/// A thread that makes durable what was written a moment ago, all of it at once.
struct Behind {
    shared: Arc<(Mutex<Pending>, Condvar)>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Pending {
    files: Vec<PathBuf>,
    /// The trials whose records were written.
    trials: Vec<String>,
    ended: bool,
    failed: Option<StoreError>,
}

impl Behind {
    fn begin(dir: PathBuf, journal: Arc<File>, path: PathBuf) -> Behind {
        let shared = Arc::new((Mutex::new(Pending::default()), Condvar::new()));
        let own = shared.clone();
        let thread = std::thread::spawn(move || {
            let (pending, changed) = &*own;
            while let Some((trials, files)) = next_group(pending, changed) {
                let synced = sync_group(&journal, &path, files);
                let synced = synced.and_then(|()| trials.iter().try_for_each(|trial| checkpoint::forget(&dir, trial)));
                let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
                pending.failed = pending.failed.take().or(synced.err());
                changed.notify_all();
            }
        });
        Behind { shared, thread }
    }

    /// Says that there is something to make durable; fails where it could not be done before.
    fn dirty(&self, trial: &str, file: Option<PathBuf>) -> Result<(), StoreError> {
        let (pending, changed) = &*self.shared;
        let pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |pending: &mut Pending| pending.files.len() >= WAITING && pending.failed.is_none();
        let mut pending = changed.wait_while(pending, full).unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = pending.failed.take() {
            return Err(error);
        }
        pending.files.extend(file);
        pending.trials.push(trial.into());
        changed.notify_all();
        Ok(())
    }

    fn end(self) -> Result<(), StoreError> {
        let (pending, changed) = &*self.shared;
        let lock = || pending.lock().unwrap_or_else(PoisonError::into_inner);
        lock().ended = true;
        changed.notify_all();
        // A thread that panicked has nothing to hand over.
        let _ = self.thread.join();
        lock().failed.take().map_or(Ok(()), Err)
    }
}

/// Waits for something to do, and then a little, so that more comes together; none at the end.
fn next_group(pending: &Mutex<Pending>, changed: &Condvar) -> Option<(Vec<String>, Vec<PathBuf>)> {
    let held = pending.lock().unwrap_or_else(PoisonError::into_inner);
    let idle = |pending: &mut Pending| pending.trials.is_empty() && !pending.ended;
    let held = changed.wait_while(held, idle).unwrap_or_else(PoisonError::into_inner);
    let soon = |pending: &mut Pending| !pending.ended && pending.files.len() < WAITING / 2;
    let (mut held, _) = changed.wait_timeout_while(held, BEHIND / 2, soon).unwrap_or_else(PoisonError::into_inner);
    let trials = std::mem::take(&mut held.trials);
    (!trials.is_empty()).then(|| (trials, std::mem::take(&mut held.files)))
}

/// How many threads ask the disk at once for a group of files.
const ASKING: usize = 16;

fn sync_all(files: &[PathBuf]) -> Result<(), StoreError> {
    files.iter().try_for_each(|path| {
        let synced = File::open(path).and_then(|file| file.sync_data());
        synced.map_err(|error| StoreError::Io { path: path.clone(), error })
    })
}

fn sync_group(journal: &File, path: &Path, files: Vec<PathBuf>) -> Result<(), StoreError> {
    // A file system that is asked by several at once writes for all of them together, which takes a tenth of the time.
    std::thread::scope(|scope| {
        let chunk = files.len().div_ceil(ASKING).max(1);
        let others = files.chunks(chunk).skip(1).map(|files| (files, std::thread::Builder::new()));
        let others = others.map(|(files, thread)| thread.spawn_scoped(scope, || sync_all(files)).map_err(|_| files));
        let others: Vec<_> = others.collect();
        let first = files.chunks(chunk).next().map_or(Ok(()), sync_all);
        // Where no thread can be had this one does it, and one that panicked has said nothing of its files.
        let done = |other: Result<ScopedJoinHandle<'_, _>, &[PathBuf]>| match other {
            Ok(other) => other.join().unwrap_or_else(|_| sync_all(&files)),
            Err(files) => sync_all(files),
        };
        others.into_iter().map(done).fold(first, Result::and)
    })?;
    files.first().map_or(Ok(()), |file| sync_folder_of(file))?;
    journal.sync_data().map_err(|error| StoreError::Io { path: path.into(), error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn journal(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        payloads.iter().for_each(|payload| bytes.extend(framed(payload)));
        bytes
    }

    fn read_back(bytes: &[u8]) -> Vec<Vec<u8>> {
        split(bytes).unwrap().payloads.into_iter().map(|range| bytes[range].to_vec()).collect()
    }

    #[test]
    fn cut_anywhere_in_its_last_record_all_others_are_read_and_the_rest_is_reported() {
        let payloads: Vec<Vec<u8>> = ["one", "two", "the last one"].map(|text| text.as_bytes().to_vec()).to_vec();
        let (whole, before) = (journal(&payloads), journal(&payloads[..2]).len());
        for cut in before..whole.len() {
            let Pieces { payloads: found, gaps } = split(&whole[..cut]).unwrap();
            assert_eq!(found.len(), 2, "cut at {cut}");
            assert!(gaps.into_iter().eq((cut > before).then_some(before..cut)));
        }
        (1..HEADER.len())
            .for_each(|cut| assert!(split(&whole[..cut]).unwrap().gaps.into_iter().eq(std::iter::once(0..cut))));
    }

    #[test]
    fn what_is_no_journal_is_refused() {
        assert_eq!(split(b"{\"trial\":"), Err(HeaderError::Foreign));
        assert_eq!(split(b"runnerj2 and what a later version writes"), Err(HeaderError::Later));
        assert_eq!(split(b""), Ok(Pieces::default()));
    }

    /// Bytes that begin like a record, one or several in each other, and are none.
    fn false_start() -> impl Strategy<Value = Vec<u8>> {
        let start = (0u32..2000, any::<[u8; 8]>())
            .prop_map(|(length, digest)| [&MARK[..], &length.to_le_bytes(), &digest].concat());
        let broken = "[a-z]{1,20}".prop_map(|text| {
            let mut bytes = framed(text.as_bytes());
            bytes.pop();
            // Nor is it one where the byte that follows happens to be the one that it lacks.
            bytes[MARK.len() + 4] ^= 1;
            bytes
        });
        let bytes = prop::collection::vec(any::<u8>(), 0..20);
        let piece = prop_oneof![start, broken, bytes, Just(MARK.to_vec()), Just(MARK[..3].to_vec())];
        prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    /// Were each false start hashed over its length, these would take an hour.
    #[test]
    fn megabytes_of_false_starts_are_stepped_over() {
        let record = framed(b"{}");
        let long = |length: usize| [&MARK[..], &(length as u32).to_le_bytes()].concat();
        let size = 8 << 20;
        for piece in [long(size / 2), long(size / 3).repeat(3), [long(4096), vec![b'x'; 8]].concat(), MARK.to_vec()] {
            let mut bytes = HEADER.to_vec();
            bytes.extend(piece.repeat(size / piece.len()));
            let damaged = bytes.len();
            bytes.extend(&record);
            let Pieces { payloads, gaps } = split(&bytes).unwrap();
            let (record, gap) = (damaged + FRAME..bytes.len(), HEADER.len()..damaged);
            assert_eq!([payloads, gaps], [record, gap].map(|range| Vec::from([range])));
        }
    }

    #[test]
    fn a_record_that_lies_in_another_is_found_where_the_other_is_none() {
        let inner = framed(b"{}");
        let outer = framed(&[b"{", &inner[..], b"}"].concat());
        assert_eq!(read_back(&[&HEADER[..], &outer].concat()), [b"{}"]);
    }

    proptest! {
        #[test]
        fn one_changed_byte_costs_one_record_and_is_never_silent(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
            place in any::<prop::sample::Index>(),
            change in 1u8..,
        ) {
            let mut bytes = journal(&payloads);
            let at = HEADER.len() + place.index(bytes.len() - HEADER.len());
            bytes[at] ^= change;
            let Pieces { payloads: found, gaps } = split(&bytes).unwrap();
            prop_assert!(found.len() + 1 >= payloads.len() && !gaps.is_empty());
            prop_assert!(gaps.iter().any(|gap| gap.contains(&at)));
            prop_assert!(read_back(&bytes).iter().all(|payload| payloads.contains(payload)));
        }

        #[test]
        fn after_damage_every_record_that_is_whole_is_found(
            pieces in prop::collection::vec((any::<bool>(), "[a-z{}\"]{0,30}", false_start()), 1..12),
        ) {
            let mut bytes = HEADER.to_vec();
            for (whole, payload, junk) in &pieces {
                bytes.extend(if *whole { framed(payload.as_bytes()) } else { junk.clone() });
            }
            let whole: Vec<Vec<u8>> =
                pieces.into_iter().filter(|piece| piece.0).map(|(_, payload, _)| payload.into_bytes()).collect();
            prop_assert_eq!(read_back(&bytes), whole);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic_and_accounted_for(tail in prop::collection::vec(any::<u8>(), 0..400)) {
            let bytes = [&HEADER[..], &tail].concat();
            let Pieces { payloads: found, gaps } = split(&bytes).unwrap();
            let held: usize = found.iter().map(|range| range.len() + FRAME).sum();
            prop_assert_eq!(held + gaps.iter().map(ExactSizeIterator::len).sum::<usize>(), tail.len());
        }

        #[test]
        fn records_come_back_as_they_were(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..8)) {
            prop_assert_eq!(read_back(&journal(&payloads)), payloads);
        }
    }
}
