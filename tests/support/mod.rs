//! Scenarios: a process has one allocator and ends once, so each scenario is a
//! process of its own. The test binary starts itself again, with the name of
//! the scenario in an environment variable; that child runs the scenario's
//! program as its real `main`, and the parent checks what it left behind.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod blocks;
pub(crate) mod child;
pub(crate) mod profile;
pub(crate) mod storm;

use child::{Child, scenario_of_this_process};
use libtest_mimic::{Arguments, Trial};

/// A program, and the test that runs it.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    program: fn(),
    check: fn(Child),
    ignored: bool,
    possible: fn() -> Result<(), &'static str>,
}

impl Scenario {
    pub(crate) const fn new(name: &'static str, program: fn(), check: fn(Child)) -> Self {
        Self {
            name,
            program,
            check,
            ignored: false,
            possible: || Ok(()),
        }
    }

    /// Not run where the machine does not let us, for a reason that is told.
    pub(crate) const fn where_possible(
        mut self,
        possible: fn() -> Result<(), &'static str>,
    ) -> Self {
        self.possible = possible;
        self
    }

    /// Not run unless asked for: for what is known to fail, with the reason.
    pub(crate) const fn ignored(mut self, _reason: &'static str) -> Self {
        self.ignored = true;
        self
    }
}

fn is_possible(scenario: &Scenario) -> bool {
    match (scenario.possible)() {
        Ok(()) => true,
        Err(why) => {
            eprintln!("NOT RUN: {}: {why}", scenario.name);
            false
        }
    }
}

/// The whole `main` of a test binary: in a child it is the scenario's program,
/// which returns from `main`, panics in it or exits, as it likes.
pub(crate) fn main(scenarios: &[&'static [Scenario]]) {
    let all = || scenarios.iter().copied().flatten();
    if let Some(name) = scenario_of_this_process() {
        let scenario = all().find(|scenario| scenario.name == name);
        return (scenario.expect("a scenario of this binary").program)();
    }
    let trials = all().map(|scenario| {
        let (name, check) = (scenario.name, scenario.check);
        Trial::test(name, move || {
            check(Child::of(name));
            Ok(())
        })
        .with_ignored_flag(scenario.ignored || !is_possible(scenario))
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}
