//! Where truncated BPTT cuts.

/// Where gradients stop on their way back in time (truncated BPTT): before every step whose number is a multiple.
/// Source: Williams & Peng 1990, Neural Computation 2(4), 490-501.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cuts {
    /// Number of the segment's first step.
    pub first: usize,
    /// The multiple; none to go back to the beginning.
    pub every: Option<usize>,
}

impl Cuts {
    /// Whether gradients stop before a step of the segment.
    pub fn at(self, step: usize) -> bool {
        self.every.is_some_and(|every| (self.first + step).is_multiple_of(every))
    }

    /// Whether gradients stop on their way from a step to the one so many steps before it.
    pub fn crosses(self, step: usize, delay: usize) -> bool {
        let to = self.first + step;
        self.every.is_some_and(|every| to / every * every + delay > to)
    }

    /// The first step that the gradients of the steps before `end` come to.
    pub fn before(self, end: usize) -> usize {
        let Some(every) = self.every else { return 0 };
        ((self.first + end - 1) / every * every).saturating_sub(self.first)
    }
}
