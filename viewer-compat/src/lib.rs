//! Opens our files in the real programs that read them, and reads back what these show: DHAT's viewer,
//! [`pprof`], [`firefox`], [`speedscope`], [`massif`]'s `ms_print`, [`callgrind`]_annotate, [`flame_graph`]s, and the rules of
//! [`strict`] readers. [`profiles`] has a profile of every kind.
//!
//! [`accessibility_flaws`] has axe-core look at a page of ours.
//!
//! DHAT's viewer is the page that Valgrind installs, `dh_view.html`, untouched, in a headless Chromium. It is
//! GPL software: it is found on the machine, never copied into this repository. `scripts/setup.sh`
//! installs both.
//!
//! [`open_in_dhat_viewer`] loads a file, draws it under every sort metric the viewer offers for it, and
//! returns a [`Viewed`]. The viewer accepts some broken files without a word, so [`Viewed::flaws`] holds
//! what it swallowed; [`Viewed::assert_sound`] is the one check that every file of ours must pass.
#![forbid(unsafe_code)]

mod accessibility;
mod command;
mod error;
mod programs;
pub mod callgrind;
mod devtools;
mod dhat_viewer;
pub mod firefox;
pub mod flame_graph;
pub mod massif;
pub mod pprof;
pub mod profiles;
pub mod speedscope;
pub mod strict;
mod pictures;
mod viewed;
mod file_sums;

pub use accessibility::accessibility_flaws;
pub use devtools::Browser;
pub use dhat_viewer::{DhatViewer, Picture, open_in_dhat_viewer};
pub use error::ViewerError;
pub use file_sums::file_sums;
pub use pictures::{page_picture, svg_picture};
pub use programs::Programs;
pub use viewed::{Metric, Totals, Viewed};
