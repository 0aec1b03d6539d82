//! Text that was read, with a name to show, and spans into it.

use std::path::{Path, PathBuf};

/// The largest experiment or plugin file that is read, in bytes.
pub const MAX_BYTES: u64 = 1 << 20;

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
    /// The part of this span that a range relative to its start covers.
    pub fn part(self, range: std::ops::Range<usize>) -> Span {
        let start = (self.start + range.start).min(self.end);
        Span { start, end: (self.start + range.end).clamp(start, self.end), ..self }
    }
}

/// A file, or the text of an option of the command line.
#[derive(Debug, Clone)]
pub struct Source {
    /// Path as the user wrote it, or the option's name.
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
                Path::new(&source.name).parent().map(PathBuf::from).unwrap_or_default()
            }
            _ => PathBuf::new(),
        }
    }

    /// The characters under a span.
    pub fn slice(&self, span: Span) -> &str {
        self.get(span).text.get(span.start..span.end).unwrap_or("")
    }
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
    /// The path is neither a file nor a folder.
    #[error("this is not a file")]
    Special,
    /// The file is larger than what is read.
    #[error("the file has {size} bytes; at most {most} are read")]
    TooLarge {
        /// Its size in bytes, as far as it was seen.
        size: u64,
        /// How many are read.
        most: u64,
    },
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
    read_at_most(path, MAX_BYTES)
}

/// Reads a plain text file of at most so many bytes; a pipe, which might never end, is refused.
pub fn read_plain(path: &Path, most: u64) -> Result<String, ReadError> {
    match std::fs::metadata(path) {
        Ok(meta) if !meta.is_file() && !meta.is_dir() => Err(ReadError::Special),
        _ => read_at_most(path, most),
    }
}

fn read_at_most(path: &Path, most: u64) -> Result<String, ReadError> {
    use std::io::Read;
    let describe = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => ReadError::NotFound,
        std::io::ErrorKind::IsADirectory => ReadError::Directory,
        _ => ReadError::Io(error),
    };
    let meta = std::fs::metadata(path).map_err(describe)?;
    if meta.is_dir() {
        return Err(ReadError::Directory);
    }
    if meta.len() > most {
        return Err(ReadError::TooLarge { size: meta.len(), most });
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(describe)?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(describe)?;
    if bytes.len() as u64 > most {
        return Err(ReadError::TooLarge { size: bytes.len() as u64, most });
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..offset].iter().filter(|&&b| b == b'\n').count();
        ReadError::NotUtf8 { offset, line }
    })
}
