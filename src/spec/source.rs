//! Text that was read, with a name to show, and spans into it.

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest experiment or plugin file that is read, in bytes.
pub const MAX_BYTES: u64 = 1 << 20;

/// The largest manifest of a result folder that is read, in bytes.
pub const MAX_MANIFEST: u64 = 1 << 30;

/// The largest table, weights or other part of a result folder that is read, in bytes.
pub const MAX_LARGE: u64 = 1 << 34;

/// A range of bytes of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Index into [`Sources`].
    pub source: usize,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The place of what nobody wrote.
    pub const NONE: Span = Span { source: 0, start: 0, end: 0 };

    /// The part of this span that a range relative to its start covers.
    pub fn part(self, range: std::ops::Range<usize>) -> Span {
        let start = (self.start + range.start).min(self.end);
        Span { start, end: (self.start + range.end).clamp(start, self.end), ..self }
    }
}

/// Where the characters of a string stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// All of them, without quotes; with these where something is written in another way than it reads, such as by an
    /// escape.
    pub span: Span,
    literal: bool,
}

impl Place {
    /// The part that a range of the string stands in; all of it where it is written in another way than it reads.
    pub fn part(self, range: std::ops::Range<usize>) -> Span {
        if self.literal { self.span.part(range) } else { self.span }
    }

    /// The place without the first bytes of the string.
    pub fn after(self, bytes: usize) -> Place {
        Place { span: self.part(bytes..self.span.end - self.span.start), ..self }
    }
}

/// A file, or the text of an option of the command line.
#[derive(Debug, Clone)]
pub struct Source {
    /// Path as the user wrote it, by [`text_of`], or the option's name.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// All text that spans point into.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    list: Vec<Source>,
}

impl Sources {
    /// Adds a text and returns its index.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> usize {
        self.list.push(Source { name: name.into(), text: text.into() });
        self.list.len() - 1
    }

    /// The index that the next text gets.
    pub fn next(&self) -> usize {
        self.list.len()
    }

    /// The text that a span points into.
    pub fn get(&self, span: Span) -> &Source {
        &self.list[span.source]
    }

    /// The folder that paths written under a span are relative to: the file's own, or for an option of the command
    /// line the working directory.
    pub fn folder(&self, span: Span) -> PathBuf {
        match self.list.get(span.source) {
            Some(source) if !source.name.starts_with("--") => {
                path_of(&source.name).parent().map(PathBuf::from).unwrap_or_default()
            }
            _ => PathBuf::new(),
        }
    }

    /// Where the characters of a string stand that was read from a span.
    pub fn place(&self, span: Span, text: &str) -> Place {
        match self.slice(span).find(text) {
            Some(offset) => Place { span: span.part(offset..offset + text.len()), literal: true },
            None => Place { span, literal: false },
        }
    }

    /// The characters under a span.
    pub fn slice(&self, span: Span) -> &str {
        self.get(span).text.get(span.start..span.end).unwrap_or("")
    }
}

/// Characters of private use that stand for the bytes of a path that belong to none, 0x80 to 0xff; these characters
/// themselves are taken byte by byte, too, so that [`path_of`] gives every path back.
pub(super) const BYTES: std::ops::RangeInclusive<char> = '\u{ef80}'..='\u{efff}';

/// A path as text, from which [`path_of`] makes it again; what is UTF-8 stays as it is.
pub fn text_of(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        let byte = |byte: &u8| char::from_u32(0xef00 + u32::from(*byte)).unwrap_or(char::REPLACEMENT_CHARACTER);
        for c in chunk.valid().chars() {
            match BYTES.contains(&c) {
                true => text.extend(c.encode_utf8(&mut [0; 4]).as_bytes().iter().map(byte)),
                false => text.push(c),
            }
        }
        text.extend(chunk.invalid().iter().map(byte));
    }
    text
}

/// The path that a text stands for, be it written by hand or by [`text_of`].
#[cfg(unix)]
pub fn path_of(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match BYTES.contains(&c) {
            true => bytes.push((u32::from(c) & 0xff) as u8),
            false => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes).into()
}

/// The path that a text stands for.
#[cfg(not(unix))]
pub fn path_of(text: &str) -> PathBuf {
    text.into()
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Nothing lies at the path.
    #[error("file not found")]
    NotFound,
    /// The path is a folder.
    #[error("this is a folder, not a file")]
    Directory,
    /// The path is neither a file nor a folder, but what it says.
    #[error("this is {0}, not a file")]
    Special(&'static str),
    /// The file is larger than what is read.
    #[error("the file has {size} bytes; at most {most} are read")]
    TooLarge {
        /// Its size in bytes, as far as it was seen.
        size: u64,
        /// How many are read.
        most: u64,
    },
    /// There is more in the file than its length says.
    #[error("the file gives more than the {0} bytes that it says it has")]
    Longer(u64),
    /// The bytes are not UTF-8; the line and column of the first that is not.
    #[error("not UTF-8: byte {offset} (line {line}) belongs to no character")]
    NotUtf8 {
        /// Offset of the first bad byte.
        offset: usize,
        /// Its line, from 1.
        line: usize,
    },
    /// Any other failure.
    #[error("cannot be read: {0}")]
    Io(std::io::Error),
}

/// Reads a text file of at most [`MAX_BYTES`].
pub fn read(path: &Path) -> Result<String, ReadError> {
    read_plain(path, MAX_BYTES)
}

/// Reads a plain text file of at most so many bytes.
pub fn read_plain(path: &Path, most: u64) -> Result<String, ReadError> {
    String::from_utf8(read_bytes(path, most)?).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..offset].iter().filter(|&&b| b == b'\n').count();
        ReadError::NotUtf8 { offset, line }
    })
}

/// Reads a plain file of at most so many bytes. A pipe or a device, which might never answer or never end, is refused.
fn read_bytes(path: &Path, most: u64) -> Result<Vec<u8>, ReadError> {
    Opened::of(path, false)?.read(most)
}

/// Reads a plain file of at most [`MAX_LARGE`] bytes.
pub fn read_large(path: &Path) -> Result<Vec<u8>, ReadError> {
    read_bytes(path, MAX_LARGE)
}

/// Reads what a plain file has now, to which another process may be adding.
pub fn read_so_far(path: &Path) -> Result<Vec<u8>, ReadError> {
    let file = open(path)?;
    let length = file.metadata()?.len();
    if length > MAX_LARGE {
        return Err(ReadError::TooLarge { size: length, most: MAX_LARGE });
    }
    read_rest(Vec::new(), file, length, length)
}

/// How many bytes of a file are looked at before the rest is read.
const BEGINNING: u64 = 512;

/// A file that is open, and how it begins.
pub struct Opened {
    file: File,
    /// Its first bytes, at most 512.
    pub begins: Vec<u8>,
    /// Its length in bytes; a pipe has none.
    pub length: Option<u64>,
}

impl Opened {
    /// Opens a plain file, or where `pipes` are fine a pipe, which can be read once.
    pub fn of(path: &Path, pipes: bool) -> Result<Opened, ReadError> {
        let (file, length) = match open(path) {
            Err(ReadError::Special(PIPE)) if pipes => (File::open(path)?, None),
            file => {
                let file = file?;
                let length = file.metadata()?.len();
                (file, Some(length))
            }
        };
        let begins = read_rest(Vec::new(), &file, 0, BEGINNING)?;
        check_length(&begins, length)?;
        Ok(Opened { file, begins, length })
    }

    /// All of it, if it has at most so many bytes.
    pub fn read(self, most: u64) -> Result<Vec<u8>, ReadError> {
        if let Some(size) = self.length.filter(|size| *size > most) {
            return Err(ReadError::TooLarge { size, most });
        }
        // One byte more shows that there are more.
        let end = self.length.unwrap_or(most).saturating_add(1);
        let bytes = read_rest(self.begins, self.file, self.length.unwrap_or(0), end)?;
        check_length(&bytes, self.length)?;
        match bytes.len() as u64 {
            size if size > most => Err(ReadError::TooLarge { size, most }),
            _ => Ok(bytes),
        }
    }
}

/// Refuses a file that gives more than it says that it has: what the system makes up while it is read may never end.
fn check_length(bytes: &[u8], length: Option<u64>) -> Result<(), ReadError> {
    match length {
        Some(length) if bytes.len() as u64 > length => Err(ReadError::Longer(length)),
        _ => Ok(()),
    }
}

/// Bytes with those that follow in a file, of which about `size` are expected, until there are `end` of them.
fn read_rest(mut bytes: Vec<u8>, file: impl Read, size: u64, end: u64) -> Result<Vec<u8>, ReadError> {
    let there = bytes.len() as u64;
    let more = usize::try_from(size.saturating_sub(there)).unwrap_or(usize::MAX);
    bytes.try_reserve_exact(more).map_err(|_| ReadError::Io(std::io::ErrorKind::OutOfMemory.into()))?;
    file.take(end.saturating_sub(there)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a plain file for reading, and nothing else; what a path leads to is looked at before and after.
pub fn open(path: &Path) -> Result<File, ReadError> {
    check_plain(&std::fs::metadata(path)?)?;
    let mut options = OpenOptions::new();
    options.read(true);
    // Where a pipe took the place of a file in between, this does not wait for its writer.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, nix::libc::O_NONBLOCK);
    let file = options.open(path)?;
    check_plain(&file.metadata()?)?;
    Ok(file)
}

/// Refuses what is no plain file, by what it is.
pub fn check_plain(meta: &Metadata) -> Result<(), ReadError> {
    match meta.file_type() {
        kind if kind.is_file() => Ok(()),
        kind if kind.is_dir() => Err(ReadError::Directory),
        kind => Err(ReadError::Special(special(kind))),
    }
}

const PIPE: &str = "a pipe";

fn special(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return PIPE;
        } else if kind.is_socket() {
            return "a socket";
        } else if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    let _ = kind;
    "something else"
}

impl From<std::io::Error> for ReadError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => ReadError::NotFound,
            std::io::ErrorKind::IsADirectory => ReadError::Directory,
            _ => ReadError::Io(error),
        }
    }
}

/// For what else may be read than experiments: an error of the kind that the system gave.
impl From<ReadError> for std::io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => error,
            ReadError::NotFound => std::io::Error::new(std::io::ErrorKind::NotFound, "file not found"),
            other => std::io::Error::other(other.to_string()),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn any_path_is_a_text_and_a_path_again() {
        for bytes in
            [b"plain/\xc3\xa9.toml".as_slice(), b"d\xff\x80/\xe2\x82x", b"\xee\xbe\x80\xee\xbf\xbf", b"\xf0\x9f"]
        {
            let path = Path::new(std::ffi::OsStr::from_bytes(bytes));
            assert_eq!(path_of(&text_of(path)), path);
        }
        assert_eq!(text_of(Path::new("a b/é.toml")), "a b/é.toml");
    }
}
