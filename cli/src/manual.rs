//! What shells and `man` read, made from the command line's own description.

use std::io::Write;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Arguments;
use crate::failure::{Failure, Result};

pub(crate) fn completions(shell: Shell, out: &mut dyn Write) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "heapledger", &mut script);
    out.write_all(&script)?;
    Ok(())
}

pub(crate) fn pages(folder: Option<&Path>, out: &mut dyn Write) -> Result<()> {
    let command = Arguments::command();
    let Some(folder) = folder else {
        Man::new(command).render(&mut &mut *out)?;
        return Ok(());
    };
    clap_mangen::generate_to(command, folder)
        .map_err(|error| Failure::of_path(folder, format!("cannot write there: {error}")))
}
