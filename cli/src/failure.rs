//! What a command ends with when it cannot do its work: one line.

use std::fmt;
use std::io;
use std::path::Path;

use crate::terminal::escaped;

/// One line for standard error; the command's exit code is 2.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    closed_pipe: bool,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            closed_pipe: false,
        }
    }

    /// A failure that is about a file.
    pub(crate) fn of_path(path: &Path, what: impl fmt::Display) -> Failure {
        Failure::new(format!("{}: {what}", path.display()))
    }

    /// Whether whoever read the output has gone: nobody is left to tell.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.closed_pipe
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escaped(&self.message).fmt(f)
    }
}

impl std::error::Error for Failure {}

/// Of standard output; files are written through [`crate::output`], which names them.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure {
            message: format!("cannot write the output: {error}"),
            closed_pipe: error.kind() == io::ErrorKind::BrokenPipe,
        }
    }
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;
