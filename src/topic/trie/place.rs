//! Where below a node a filter goes on.

use crate::topic::split_level;

/// A place below a node where a child hangs or could hang.
#[derive(Clone, Copy)]
pub(super) struct Place<'t> {
    pub(super) node: u32,
    pub(super) step: Step<'t>,
    /// What the filter has behind the step.
    pub(super) tail: Option<&'t str>,
}

#[derive(Clone, Copy)]
pub(super) enum Step<'t> {
    End,
    Hash,
    Plus,
    Named(&'t str),
}

impl<'t> Place<'t> {
    /// The place below `node` of a filter whose remaining levels are `rest`.
    pub(super) fn new(node: u32, rest: Option<&'t str>) -> Self {
        let Some(rest) = rest else { return Self { node, step: Step::End, tail: None } };
        let (level, tail) = split_level(rest);
        let step = match level {
            "#" => Step::Hash,
            "+" => Step::Plus,
            _ => Step::Named(level),
        };
        Self { node, step, tail }
    }

    /// Length in bytes of the step's level.
    pub(super) fn level_len(&self) -> usize {
        match self.step {
            Step::End => 0,
            Step::Hash | Step::Plus => 1,
            Step::Named(level) => level.len(),
        }
    }
}
