use std::fmt;

/// Why a file could not be viewed.
#[derive(Debug)]
pub enum ViewerError {
    /// The viewer showed its own error message instead of the file.
    Refused(String),
    /// Chromium or the viewer is not installed.
    Missing(String),
    /// Chromium or the viewer failed to start, crashed, or did not answer in time.
    Failed(String),
}

impl fmt::Display for ViewerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(message) => write!(f, "the viewer refused the file: {message}"),
            Self::Missing(what) => write!(f, "{what}"),
            Self::Failed(what) => write!(f, "the viewer failed: {what}"),
        }
    }
}

impl std::error::Error for ViewerError {}

impl From<std::io::Error> for ViewerError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}
