//! The variable `HEAPLEDGER`: a run of any program that has the allocator's line,
//! without a change to it.

use crate::process;
use crate::profiler::{Profiler, ProfilerBuilder, start_from_environment};
use crate::report::output::{Format, Output};
use crate::touch::Touch;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const VARIABLE: &str = "HEAPLEDGER";

const KNOWN: &str = "known are: out=FILE frames=N|all sample=BYTES touch=off|estimate peaks=exact timing quiet signal=NAME \
     window=SECONDS..SECONDS crash_safe";

/// Called by the loader before `main`, when the standard library is usable already:
/// what it needs of the loader is made earlier.
#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = at_start;

#[cfg(target_os = "linux")]
extern "C" fn at_start() {
    let Some(text) = std::env::var_os(VARIABLE) else {
        return;
    };
    if process::has_more_rights_than_its_caller() {
        return;
    }
    let settings = match text.to_str() {
        Some(text) => parse(text, std::process::id(), now()),
        None => Err("is not UTF-8".to_owned()),
    };
    match settings {
        Ok(None) => {}
        Ok(Some(builder)) => start_from_environment(builder),
        Err(why) => crate::profiler::print_line(&format!(
            "error: {VARIABLE}={}: {why}; nothing is recorded",
            text.display()
        )),
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// What the variable's text asks for. None: nothing.
///
/// # Errors
/// What is wrong with it, and what can be there.
fn parse(text: &str, pid: u32, seconds: u64) -> Result<Option<ProfilerBuilder>, String> {
    let text = text.trim();
    if matches!(text, "" | "0" | "off") {
        return Ok(None);
    }
    let mut builder = Profiler::builder();
    let mut has_output = false;
    let items = text.split(',').map(str::trim);
    for item in items.filter(|item| !item.is_empty() && !matches!(*item, "1" | "on")) {
        let (key, value) = match item.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (item, None),
        };
        let value = || {
            let value = value.filter(|value| !value.is_empty());
            value.ok_or(format!("{key} needs a value; {KNOWN}"))
        };
        builder = match key {
            "out" => {
                has_output = true;
                builder.output(output(&filled_in(value()?, pid, seconds)?)?)
            }
            "frames" => builder.trim_backtraces(match value()? {
                "all" => None,
                number => Some(whole_number("frames", number)?),
            }),
            "sample" => {
                let bytes = bytes(value()?)?;
                if !(1..=1 << 30).contains(&bytes) {
                    return Err(format!("sample={bytes} is not from 1 to 1g"));
                }
                builder.sample_bytes(bytes)
            }
            "touch" => builder.touch(touch(value()?)?),
            "peaks" if value()? == "exact" => builder.exact_peaks(),
            "timing" => builder.timing(true),
            "crash_safe" => builder.crash_safe(true),
            "quiet" => builder.quiet(),
            "signal" => builder.snapshot_signal(signal(value()?)?),
            "window" => {
                let (start, end) = window(value()?)?;
                builder.window(start, end)
            }
            _ => return Err(format!("{item} is not known; {KNOWN}")),
        };
    }
    if !has_output {
        // Children inherit the variable: each process has a file of its own.
        builder = builder.output(Output::dhat(format!("heapledger-{pid}.json")));
    }
    match builder.contradiction() {
        Some(why) => Err(why.to_owned()),
        None => Ok(Some(builder)),
    }
}

/// `%p` is the process, `%t` the time in seconds, `%%` a percent sign.
fn filled_in(path: &str, pid: u32, seconds: u64) -> Result<String, String> {
    let mut filled = String::new();
    let mut letters = path.chars();
    while let Some(letter) = letters.next() {
        match (letter, if letter == '%' { letters.next() } else { None }) {
            ('%', Some('p')) => filled.push_str(&pid.to_string()),
            ('%', Some('t')) => filled.push_str(&seconds.to_string()),
            ('%', Some('%')) => filled.push('%'),
            ('%', _) => {
                return Err(format!(
                    "out={path}: after % there can be p (the process), t (the time) or %"
                ));
            }
            (letter, _) => filled.push(letter),
        }
    }
    Ok(filled)
}

/// The file's format is told by its name.
fn output(path: &str) -> Result<Output, String> {
    let is = |ending| path.ends_with(ending);
    #[cfg(feature = "pprof")]
    if is(".pb.gz") {
        return Ok(Output::pprof(path));
    }
    #[cfg(feature = "speedscope")]
    if is(".speedscope.json") {
        return Ok(Output::speedscope(path));
    }
    #[cfg(feature = "firefox")]
    if is(".firefox.json") {
        return Ok(Output::firefox(path));
    }
    #[cfg(feature = "massif")]
    if is(".massif.out") {
        return Ok(Output::massif(path));
    }
    #[cfg(feature = "callgrind")]
    if is(".callgrind.out") {
        return Ok(Output::callgrind(path));
    }
    #[cfg(feature = "flamegraph")]
    if is(".folded") {
        use heapledger_formats::metric::Metric;
        return Ok(Output::folded(path, Metric::default()));
    }
    #[cfg(feature = "flamegraph")]
    if is(".svg") {
        use heapledger_formats::metric::Metric;
        return Ok(Output::flame_graph(path, Metric::default()));
    }
    let features = [
        (".pb.gz", "pprof"),
        (".speedscope.json", "speedscope"),
        (".firefox.json", "firefox"),
        (".massif.out", "massif"),
        (".callgrind.out", "callgrind"),
        (".folded", "flamegraph"),
        (".svg", "flamegraph"),
    ];
    match features.iter().find(|(ending, _)| is(ending)) {
        Some((_, feature)) => Err(format!(
            "out={path}: the program was built without heapledger's feature `{feature}`"
        )),
        None => Ok(Output::new(Format::Dhat, PathBuf::from(path))),
    }
}

fn whole_number<T: std::str::FromStr>(key: &str, text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{key}={text} is not a whole number"))
}

/// Bytes, with k, m or g for 2¹⁰, 2²⁰ or 2³⁰ of them.
fn bytes(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.to_ascii_lowercase().chars().last() {
        Some('k') => (&text[..text.len() - 1], 10),
        Some('m') => (&text[..text.len() - 1], 20),
        Some('g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let wrong = || format!("sample={text} is not a number of bytes, such as 512k");
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

fn touch(text: &str) -> Result<Touch, String> {
    match text {
        "off" => Ok(Touch::Off),
        "estimate" => Ok(Touch::Estimate),
        _ => Err(format!("touch={text} is not off or estimate")),
    }
}

fn signal(name: &str) -> Result<i32, String> {
    match name.to_ascii_uppercase().trim_start_matches("SIG") {
        "USR1" => Ok(libc::SIGUSR1),
        "USR2" => Ok(libc::SIGUSR2),
        "HUP" => Ok(libc::SIGHUP),
        "WINCH" => Ok(libc::SIGWINCH),
        _ => Err(format!("signal={name} is not USR1, USR2, HUP or WINCH")),
    }
}

fn window(text: &str) -> Result<(Duration, Option<Duration>), String> {
    let wrong = || format!("window={text} is not SECONDS..SECONDS, such as 10..40, or 10..");
    let seconds = |text: &str| {
        let number: f64 = text.parse().map_err(|_| wrong())?;
        Duration::try_from_secs_f64(number).map_err(|_| wrong())
    };
    let (start, end) = text.split_once("..").ok_or_else(wrong)?;
    let start = match start {
        "" => Duration::ZERO,
        text => seconds(text)?,
    };
    let end = match end {
        "" => None,
        text => Some(seconds(text)?),
    };
    match end {
        Some(end) if end <= start => Err(format!("window={text} ends before it starts")),
        _ => Ok((start, end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse(text, 7, 1000).expect_err(text)
    }

    #[test]
    fn nothing_is_asked_for() {
        for text in ["", " ", "0", "off"] {
            assert!(parse(text, 7, 1000).unwrap().is_none(), "{text:?}");
        }
        for text in [
            "1",
            "on",
            "quiet",
            "frames=all",
            "frames=12,sample=512k",
            "touch=off",
            "touch=estimate",
            ",",
        ] {
            assert!(parse(text, 7, 1000).unwrap().is_some(), "{text:?}");
        }
    }

    #[test]
    fn paths_are_filled_in() {
        let filled = |path| filled_in(path, 7, 1000);
        assert_eq!(filled("a/%p-%t-100%%.json").unwrap(), "a/7-1000-100%.json");
        assert!(filled("%x").is_err() && filled("50%").is_err());
    }

    #[test]
    fn bytes_have_units() {
        for (text, number) in [
            ("1", 1),
            ("512k", 1 << 19),
            ("3M", 3 << 20),
            ("1g", 1 << 30),
        ] {
            assert_eq!(bytes(text).unwrap(), number);
        }
        for text in ["", "k", "1.5m", "-3", "99999999999g", "1kb", "é"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn windows_have_an_order() {
        let seconds = Duration::from_secs;
        assert_eq!(window("2..5").unwrap(), (seconds(2), Some(seconds(5))));
        assert_eq!(window("..5").unwrap(), (seconds(0), Some(seconds(5))));
        assert_eq!(window("0.5..").unwrap(), (Duration::from_millis(500), None));
        for text in ["", "5", "5..2", "a..b", "-1..3", "1e40..", "3..3"] {
            assert!(window(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_refusal_tells_what_is_wrong_and_what_can_be_there() {
        for (text, part) in [
            ("fram=3", "fram=3 is not known; known are: out=FILE"),
            ("frames=x", "frames=x is not a whole number"),
            ("frames", "frames needs a value"),
            ("sample=0", "sample=0 is not from 1 to 1g"),
            ("sample=2g", "is not from 1 to 1g"),
            ("sample=much", "such as 512k"),
            ("out=%q", "after % there can be p"),
            ("touch=some", "touch=some is not off or estimate"),
            ("touch", "touch needs a value"),
            ("touch=estimate,sample=1k", "remove sample_bytes or touch"),
            ("signal=KILL", "is not USR1"),
            ("peaks=some", "is not known"),
            ("window=9", "such as 10..40"),
            ("sample=1k,timing", "remove sample_bytes"),
        ] {
            assert!(refusal(text).contains(part), "{text}: {}", refusal(text));
        }
    }
}
