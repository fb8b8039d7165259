//! Measurements for [criterion](https://docs.rs/criterion): what an iteration
//! allocates, reported and compared as times are.
//!
//! # Examples
//! ```no_run
//! use criterion::{Criterion, criterion_group, criterion_main};
//! use heapledger::criterion::Blocks;
//!
//! #[global_allocator]
//! static ALLOC: heapledger::Alloc = heapledger::Alloc;
//!
//! fn numbers(criterion: &mut Criterion<Blocks>) {
//!     criterion.bench_function("numbers", |bencher| {
//!         bencher.iter(|| (0..100).map(|n: u32| n.to_string()).collect::<Vec<_>>())
//!     });
//! }
//!
//! criterion_group! {
//!     name = benches;
//!     config = Criterion::default().with_measurement(Blocks);
//!     targets = numbers
//! }
//! criterion_main!(benches);
//! ```

use crate::testing::scope::{Entered, Scope};
use crate::testing::usage::HeapUsage;
use ::criterion::Throughput;
use ::criterion::measurement::{Measurement, ValueFormatter};

/// Blocks that an iteration allocates, a reallocation being one more, on this
/// thread and on those that enter its scope.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blocks;

/// Bytes that an iteration allocates, counted as
/// [`total_bytes`](crate::HeapUsage::total_bytes) are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytes;

/// Criterion refuses an iteration that takes nothing; this is shown as 0.
const NOTHING: f64 = 1e-9;

/// A measurement that has begun.
#[derive(Debug)]
pub struct Begun {
    inside: Entered,
    scope: Scope,
}

impl Begun {
    fn now() -> Self {
        let scope = Scope::counts_only();
        Self {
            inside: scope.enter(),
            scope,
        }
    }

    fn end(self) -> HeapUsage {
        drop(self.inside);
        self.scope.usage()
    }
}

macro_rules! measurement {
    ($name:ident, $field:ident, $formatter:ident) => {
        impl Measurement for $name {
            type Intermediate = Begun;
            type Value = u64;

            fn start(&self) -> Begun {
                Begun::now()
            }

            fn end(&self, begun: Begun) -> u64 {
                begun.end().$field
            }

            fn add(&self, one: &u64, other: &u64) -> u64 {
                one + other
            }

            fn zero(&self) -> u64 {
                0
            }

            fn to_f64(&self, value: &u64) -> f64 {
                match *value {
                    0 => NOTHING,
                    value => value as f64,
                }
            }

            fn formatter(&self) -> &dyn ValueFormatter {
                &$formatter
            }
        }
    };
}

measurement!(Blocks, total_blocks, FormatBlocks);
measurement!(Bytes, total_bytes, FormatBytes);

struct FormatBlocks;
struct FormatBytes;

impl ValueFormatter for FormatBlocks {
    fn scale_values(&self, _typical: f64, _values: &mut [f64]) -> &'static str {
        "blocks"
    }

    fn scale_throughputs(
        &self,
        _typical: f64,
        throughput: &Throughput,
        values: &mut [f64],
    ) -> &'static str {
        per(
            throughput,
            values,
            ["blocks/B", "blocks/elem", "blocks/bit"],
        )
    }

    fn scale_for_machines(&self, _values: &mut [f64]) -> &'static str {
        "blocks"
    }
}

impl ValueFormatter for FormatBytes {
    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        const UNITS: [(f64, &str); 4] = [
            (1.0, "B"),
            (1024.0, "KiB"),
            (1048576.0, "MiB"),
            (1073741824.0, "GiB"),
        ];
        let fits = UNITS.iter().rev().find(|(size, _)| typical >= *size);
        let (size, unit) = fits.unwrap_or(&UNITS[0]);
        values.iter_mut().for_each(|value| *value /= size);
        unit
    }

    fn scale_throughputs(
        &self,
        _typical: f64,
        throughput: &Throughput,
        values: &mut [f64],
    ) -> &'static str {
        per(throughput, values, ["B/B", "B/elem", "B/bit"])
    }

    fn scale_for_machines(&self, _values: &mut [f64]) -> &'static str {
        "bytes"
    }
}

/// What is allocated for each byte, element or bit of input.
fn per(
    throughput: &Throughput,
    values: &mut [f64],
    [bytes, elements, bits]: [&'static str; 3],
) -> &'static str {
    let (count, unit) = match *throughput {
        Throughput::Bytes(count) | Throughput::BytesDecimal(count) => (count, bytes),
        Throughput::Elements(count) => (count, elements),
        Throughput::Bits(count) => (count, bits),
        Throughput::ElementsAndBytes {
            elements: count, ..
        } => (count, elements),
    };
    values.iter_mut().for_each(|value| *value /= count as f64);
    unit
}
