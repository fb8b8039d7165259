//! The SVG of a flame graph, taken apart again.

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::error::ViewerError;

/// What a flame graph shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlameGraph {
    /// Its `total_samples`.
    pub total: u64,
    /// What each rectangle shows when it is pointed at: `name (1,234 bytes, 56.78%)`.
    pub titles: Vec<String>,
}

/// Reads an SVG; one that is not well-formed is refused.
pub fn read_flame_graph(svg: &str) -> Result<FlameGraph, ViewerError> {
    let refused = |error: &dyn std::fmt::Display| ViewerError::Refused(format!("SVG: {error}"));
    let mut reader = Reader::from_str(svg);
    reader.config_mut().check_end_names = true;
    let mut graph = FlameGraph::default();
    let mut title: Option<String> = None;
    let mut depth = 0;
    loop {
        let event = reader.read_event().map_err(|error| refused(&error))?;
        match event {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth -= 1,
            _ => {}
        }
        match event {
            Event::Eof if depth == 0 => return Ok(graph),
            Event::Eof => return Err(refused(&"ends too early")),
            Event::Start(start) if start.name().as_ref() == b"title" => title = Some(String::new()),
            Event::Start(start) if start.name().as_ref() == b"svg" => {
                let total = start
                    .try_get_attribute("total_samples")
                    .map_err(|error| refused(&error))?;
                if let Some(total) = total {
                    let text = String::from_utf8_lossy(&total.value).into_owned();
                    graph.total = text.parse().map_err(|error| refused(&error))?;
                }
            }
            Event::Text(text) => {
                if let Some(title) = &mut title {
                    title.push_str(&text.decode().map_err(|error| refused(&error))?);
                }
            }
            Event::GeneralRef(entity) => {
                if let Some(title) = &mut title {
                    let name = entity.decode().map_err(|error| refused(&error))?;
                    title.push_str(character(&name).ok_or_else(|| refused(&"an unknown entity"))?);
                }
            }
            Event::End(end) if end.name().as_ref() == b"title" => graph.titles.extend(title.take()),
            _ => {}
        }
    }
}

fn character(entity: &str) -> Option<&'static str> {
    Some(match entity {
        "lt" => "<",
        "gt" => ">",
        "amp" => "&",
        "quot" => "\"",
        "apos" => "'",
        _ => return None,
    })
}
