//! Where lines are broken.

use std::io::{self, Write};

/// Compact, but for a line break before each key of the file and each element of
/// its arrays.
#[derive(Default)]
pub(super) struct OneLineAPoint {
    depth: usize,
}

impl OneLineAPoint {
    fn separate(
        &self,
        writer: &mut (impl Write + ?Sized),
        first: bool,
        max_depth: usize,
    ) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        if self.depth <= max_depth {
            writer.write_all(b"\n")
        } else {
            Ok(())
        }
    }
}

impl serde_json::ser::Formatter for OneLineAPoint {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.separate(writer, first, 2)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.separate(writer, first, 1)
    }
}
