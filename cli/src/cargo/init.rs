//! `init`: the dependency and the two lines.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;

use super::Build;
use super::main_function::{self, Lines};
use super::profilers::{Dependency, HEAPLEDGER};
use super::project::{self, Package, Project, Wanted};
use crate::failure::{Failure, Result};
use crate::output;
use crate::terminal::{escaped, escaped_path};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The program to profile
    #[arg(long, value_name = "NAME")]
    bin: Option<String>,
    /// The example to profile
    #[arg(long, value_name = "NAME", conflicts_with_all = ["bin", "optional"])]
    example: Option<String>,
    /// The package, in a workspace of several
    #[arg(long, short, value_name = "NAME")]
    package: Option<String>,
    /// Path of a Cargo.toml
    #[arg(long, value_name = "PATH")]
    manifest_path: Option<PathBuf>,
    /// Take heapledger from this folder instead of crates.io
    #[arg(long, value_name = "FOLDER")]
    path: Option<PathBuf>,
    /// Put it behind a feature, `heapledger`, so that it can stay in the project
    #[arg(long)]
    optional: bool,
    /// Change without asking
    #[arg(long, short)]
    yes: bool,
}

impl Options {
    /// As of a run that finds nothing to profile with.
    pub(super) fn of_run(build: &Build, wanted: &Wanted<'_>) -> Options {
        let name = wanted.name.map(str::to_owned);
        let (bin, example) = match wanted.is_example() {
            true => (None, name),
            false => (name, None),
        };
        Options {
            bin,
            example,
            package: build.package.clone(),
            manifest_path: build.manifest_path.clone(),
            path: None,
            optional: false,
            yes: false,
        }
    }

    fn wanted(&self) -> Wanted<'_> {
        match &self.example {
            Some(name) => Wanted::example(name),
            None => Wanted::bin(self.bin.as_deref()),
        }
    }
}

pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Result<()> {
    let project = Project::read(options.manifest_path.as_deref(), &[])?;
    let wanted = options.wanted();
    let package = project.package(options.package.as_deref(), &wanted)?;
    let source_path = &package.program(&wanted)?.src_path;
    let words = wanted.words(options.package.as_deref());
    let run = escaped(&format!("cargo heapledger run{words}")).to_string();
    let source =
        fs::read_to_string(source_path).map_err(|error| Failure::of_path(source_path, error))?;
    let dependency = package.heapledger(&wanted);
    let lines = lines(package, dependency, options.optional)?;
    let has_lines = source.contains(&format!("{}::Profiler", lines.crate_name));
    if has_lines && dependency.is_some() {
        writeln!(
            out,
            "{} has heapledger already: `{run}`",
            escaped(&package.name)
        )?;
        return Ok(());
    }
    let changed = if has_lines {
        source
    } else {
        main_function::with_profiler(&source, &lines)
            .map_err(|what| Failure::of_path(source_path, what))?
    };

    if dependency.is_none() {
        let arguments: Vec<_> = add_arguments(options, package);
        let words: Vec<_> = arguments
            .iter()
            .map(|word| word.to_string_lossy())
            .collect();
        writeln!(
            out,
            "{}, by `cargo {}`:",
            escaped_path(&package.manifest_path),
            escaped(&words.join(" "))
        )?;
        writeln!(out, "  + a dependency: heapledger")?;
    }
    if !has_lines {
        writeln!(out, "{}:", escaped_path(source_path))?;
        for line in lines.before_main() {
            writeln!(out, "  + {}", escaped(&line))?;
        }
        writeln!(out, "    fn main() {{")?;
        for line in lines.in_main() {
            writeln!(out, "  +     {}", escaped(&line))?;
        }
    }
    confirm(options, out)?;

    if dependency.is_none() {
        let status = project::cargo()
            .args(add_arguments(options, package))
            .arg("--quiet")
            .status();
        if !status.is_ok_and(|status| status.success()) {
            return Err(Failure::new(
                "cargo could not add the dependency: see what it said; nothing else was changed",
            ));
        }
    }
    if !has_lines {
        output::write(source_path, |sink| sink.write_all(changed.as_bytes()))?;
    }
    writeln!(out, "Done. Now: {run} --open")?;
    Ok(())
}

/// As the dependency is there, or will be.
fn lines(package: &Package, dependency: Option<&Dependency>, optional: bool) -> Result<Lines> {
    let crate_name = dependency.map_or_else(|| HEAPLEDGER.to_owned(), Dependency::crate_name);
    let feature = match dependency {
        None => optional.then_some(HEAPLEDGER),
        Some(dependency) if dependency.optional => match package.features_for(dependency)[..] {
            [only] => Some(only),
            ref several => {
                let what = format!(
                    "{} has heapledger behind features of its own: put the lines in by hand, behind one of {}",
                    package.name,
                    several.join(", ")
                );
                return Err(Failure::new(what));
            }
        },
        Some(_) if optional => {
            let advice = "set `optional = true` for it in Cargo.toml, or leave out --optional";
            let what = format!("{} depends on heapledger always: {advice}", package.name);
            return Err(Failure::new(what));
        }
        Some(_) => None,
    };
    let feature = feature.map(str::to_owned);
    Ok(Lines {
        crate_name,
        feature,
    })
}

fn add_arguments(options: &Options, package: &Package) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["add".into(), "heapledger".into()];
    if options.example.is_some() {
        arguments.push("--dev".into());
    }
    if options.optional {
        arguments.push("--optional".into());
    }
    if let Some(path) = &options.path {
        arguments.extend(["--path".into(), path.into()]);
    }
    arguments.extend(["--manifest-path".into(), (&package.manifest_path).into()]);
    arguments
}

fn confirm(options: &Options, out: &mut dyn Write) -> Result<()> {
    if options.yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::new(
            "nothing was changed: nobody is there to ask; --yes changes without asking",
        ));
    }
    write!(out, "Change this? [Y/n] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        // Enter, not the end of the input.
        "" if answer.ends_with('\n') => Ok(()),
        _ => Err(Failure::new("nothing was changed")),
    }
}
