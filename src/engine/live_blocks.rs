//! What was written to blocks that are live when a run ends.

use crate::engine::Engine;
use crate::engine::touching::{look_at, of_mapping};
use crate::record::block_entry::{Entry, Measured};
use crate::record::book::Book;
use crate::record::sites::SiteId;
use crate::record::touch_counters::Measure;
use crate::touch::arena::LARGE_BYTES;
use crate::touch::peek;

impl Engine {
    /// Counts what was written to blocks that are live, by reading them as they
    /// are. The run is over: nothing is recorded any more, but the program may go
    /// on, and free them.
    pub(crate) fn measure_live(&self) {
        // Any one: no thread counts any more, and all are added up.
        let Some(book) = self.books().next() else {
            return;
        };
        let mut reader = LiveReader::new(book);
        self.recorder
            .each_measured(|address, entry, bytes, weight| {
                if entry.how() != Measured::Mapped {
                    return reader.read(Live {
                        address,
                        bytes,
                        entry,
                        weight,
                    });
                }
                let (bytes, purpose) = (self.arena.bytes(address), self.arena.purpose(address));
                let mut buffer = vec![0; PIECE_BYTES];
                let found = self.arena.look(address, 0..bytes, |run, see| {
                    for at in run.clone().step_by(PIECE_BYTES) {
                        let wanted = PIECE_BYTES.min(run.end - at);
                        let read = peek::peek(at, &mut buffer[..wanted]);
                        see(at, &buffer[..read]);
                    }
                });
                let measure = of_mapping(purpose, bytes, found);
                reader.add(entry.site(), purpose.weight, &measure);
            });
        reader.finish();
    }
}

/// Live memory is read in pieces of this size; no block that is read in one go
/// is larger.
const PIECE_BYTES: usize = LARGE_BYTES;

/// Blocks that lie no further apart are read together.
const GAP_BYTES: usize = 2048;

struct Live {
    address: usize,
    bytes: usize,
    entry: Entry,
    weight: u8,
}

/// Reads blocks in order of their addresses, several at a time.
struct LiveReader<'b> {
    book: &'b Book,
    together: Vec<Live>,
    buffer: Vec<u8>,
}

impl<'b> LiveReader<'b> {
    fn new(book: &'b Book) -> Self {
        Self {
            book,
            together: Vec::new(),
            buffer: vec![0; PIECE_BYTES],
        }
    }

    fn add(&mut self, site: SiteId, weight: u8, measure: &Measure) {
        self.book.touch.add(site, weight, 1, measure);
    }

    fn read(&mut self, live: Live) {
        if live.bytes > PIECE_BYTES {
            return;
        }
        if let (Some(first), Some(last)) = (self.together.first(), self.together.last()) {
            let is_near = live.address >= last.address
                && live.address - last.address <= last.bytes + GAP_BYTES
                && live.address + live.bytes - first.address <= PIECE_BYTES;
            if !is_near {
                self.finish();
            }
        }
        self.together.push(live);
    }

    fn finish(&mut self) {
        let together = std::mem::take(&mut self.together);
        let (Some(first), Some(last)) = (together.first(), together.last()) else {
            return;
        };
        let start = first.address;
        let wanted = last.address + last.bytes - start;
        let read = peek::peek(start, &mut self.buffer[..wanted]);
        for live in &together {
            let at = live.address - start;
            if at + live.bytes <= read {
                let bytes = &self.buffer[at..at + live.bytes];
                let measure = look_at(live.entry.how(), bytes, 0);
                self.add(live.entry.site(), live.weight, &measure);
            } else if at >= read && together.len() > 1 {
                // Something before it is gone; it may not be.
                let mut alone = vec![0; live.bytes];
                if peek::peek(live.address, &mut alone) == live.bytes {
                    let measure = look_at(live.entry.how(), &alone, 0);
                    self.add(live.entry.site(), live.weight, &measure);
                }
            }
        }
        self.together = together;
        self.together.clear();
    }
}
