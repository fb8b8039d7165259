use serde::Deserialize;

/// What the DHAT viewer made of a file, read from its own variables and its own page.
#[derive(Clone, Debug, Deserialize)]
pub struct Viewed {
    /// The header as drawn: mode, command, pid.
    pub invocation: String,
    /// The header as drawn: t-gmax and t-end.
    pub times: String,
    /// One entry for each sort metric that the viewer enables for this file, in menu order.
    pub metrics: Vec<Metric>,
    /// Labels of the sort metrics that the viewer greys out for this file.
    pub disabled_metrics: Vec<String>,
    pub totals: Totals,
    /// Nodes of the viewer's tree, the root included.
    pub tree_nodes: usize,
    /// The text of every frame in the tree, each once, `[root]` first.
    pub frames: Vec<String>,
    /// Occurrences of `undefined`, `NaN`, `Infinity` or an infinite number in the drawn text of all
    /// metrics, outside the command line and the frames' own names.
    pub nonsense_words: usize,
    /// Broken values that the viewer accepts silently: `place: value`, the first few of each kind.
    pub flaws: Vec<String>,
}

/// A drawn sort metric.
#[derive(Clone, Debug, Deserialize)]
pub struct Metric {
    pub label: String,
    pub text: String,
}

/// The sums the viewer computed for the whole program. `None`: the file says it does not have them
/// (`bklt`, `bkacc`), or the viewer's sum is not a whole number, which is also a flaw.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Totals {
    pub total_bytes: Option<u64>,
    pub total_blocks: Option<u64>,
    pub total_lifetimes: Option<u64>,
    /// The viewer has a maximum for each program point and none for the program: the sum over its leaves.
    pub max_bytes: Option<u64>,
    pub max_blocks: Option<u64>,
    pub at_gmax_bytes: Option<u64>,
    pub at_gmax_blocks: Option<u64>,
    pub at_end_bytes: Option<u64>,
    pub at_end_blocks: Option<u64>,
    pub reads_bytes: Option<u64>,
    pub writes_bytes: Option<u64>,
}

impl Viewed {
    /// The drawn value of a header line, for example `Command`, `PID`, `t-gmax`.
    pub fn header(&self, name: &str) -> Option<&str> {
        let label = format!("{name}:");
        self.invocation
            .lines()
            .chain(self.times.lines())
            .find_map(|line| line.trim_start().strip_prefix(&label))
            .map(str::trim)
    }

    pub fn metric(&self, label: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.label == label)
    }

    /// Everything that is wrong: nonsense shown, broken values swallowed, metrics not drawn.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.flaws.clone();
        if self.nonsense_words > 0 {
            problems.push(format!("nonsense words: {}", self.nonsense_words));
        }
        if self.metrics.is_empty() {
            problems.push("no sort metric is enabled".into());
        }
        for metric in &self.metrics {
            if !metric.text.contains("PP significance threshold") {
                problems.push(format!("not drawn: {}", metric.label));
            }
        }
        problems
    }

    /// The check that every file of ours must pass.
    ///
    /// # Panics
    /// If there are [`problems`](Self::problems).
    #[track_caller]
    pub fn assert_sound(&self) {
        let problems = self.problems();
        assert!(
            problems.is_empty(),
            "the DHAT viewer shows an unsound file: {problems:#?}"
        );
    }
}
