//! A dataset with its split: what a trial is trained, validated and tested on.

use super::scale::Scale;
use super::split::{Assigned, By, Part, Split};
use super::vacant::Vacant;
use super::{Data, DataError, DataShape, Dataset};
use crate::random::Draws;
use crate::spec::DataSpec;
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem};
use crate::spec::keys::SplitKeys;
use std::sync::Arc;

/// A dataset and how it is cut up.
pub struct Prepared {
    dataset: Box<dyn Dataset>,
    split: Option<Split>,
    /// The seed of a split that is the same for all trials.
    fixed: Option<u64>,
    /// Samples of each part.
    counts: [usize; 3],
    /// Windows that belong to no part because they would read rows of a later one.
    straddling: usize,
}

/// The samples of a trial.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// What it is trained on; everything where there is no split.
    pub train: Arc<Data>,
    /// What chooses weights.
    pub validation: Option<Arc<Data>>,
    /// What is looked at once, at the end.
    pub test: Option<Arc<Data>>,
    /// The units that were fitted.
    pub scale: Option<Arc<Scale>>,
}

impl Parts {
    /// The samples of a part, if there is one.
    pub fn get(&self, part: Part) -> Option<&Arc<Data>> {
        match part {
            Part::Train => Some(&self.train),
            Part::Validation => self.validation.as_ref(),
            Part::Test => self.test.as_ref(),
        }
    }

    /// A digest of all numbers that losses and metrics read, with their number in each part.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("runner 1 data of a trial");
        for data in Part::ALL.into_iter().filter_map(|part| self.get(part)) {
            for values in [&data.inputs, &data.targets] {
                hasher.update(&(values.len() as u64).to_le_bytes());
                values.iter().for_each(|value| {
                    hasher.update(&value.to_le_bytes());
                });
            }
        }
        hasher.finalize().to_hex()[..32].to_string()
    }

    /// The part that is shown to people: the one that was trained on least.
    pub fn shown(&self) -> Part {
        let there = |part: &&Part| self.get(**part).is_some();
        Part::ALL.iter().rev().find(there).copied().unwrap_or(Part::Train)
    }
}

impl Prepared {
    /// Reads the split of a dataset and tries it, as far as it does not depend on a seed.
    ///
    /// # Errors
    /// Where the split means nothing, or leaves a part empty.
    pub fn new(dataset: Box<dyn Dataset>, spec: &DataSpec) -> Result<Prepared, Diagnostics> {
        let mut found = Diagnostics::default();
        let reach = dataset.reach();
        let keys = spec.common.split.as_ref();
        let samples = dataset.shape().samples;
        let split = keys.and_then(|keys| Split::new(keys, samples, reach.is_some(), &mut found));
        if let Some(split) = &split
            && split.by == By::Column
            && dataset.parts().is_none()
        {
            let text = format!("`{}` has no column that could say the parts", spec.component.kind);
            let at = keys.and_then(|keys| Some(keys.value.column.as_ref()?.at)).unwrap_or(split.span);
            found.push(Diagnostic::new(Problem::Conflict(text), at).label("columns are those of a file"));
        }
        if !found.is_empty() {
            return Err(found);
        }
        let fixed = split.as_ref().and_then(|split| split.seed).or(spec.common.seed);
        let mut prepared = Prepared { dataset, split, fixed, counts: [0; 3], straddling: 0 };
        let assigned = prepared.assign(0);
        prepared.counts = Part::ALL.map(|part| assigned.count(part));
        prepared.straddling = assigned.straddling.iter().sum();
        if let Some(keys) = keys {
            prepared.check(&keys.value, &assigned, reach.is_some(), &mut found);
        }
        if found.is_empty() { Ok(prepared) } else { Err(found) }
    }

    fn check(&self, keys: &SplitKeys, assigned: &Assigned, windows: bool, found: &mut Diagnostics) {
        let Some(split) = &self.split else { return };
        Vacant { split, assigned, windows, keys }.check(found);
        if found.is_empty()
            && (self.fixed.is_some() || !split.is_random())
            && let Err(error) = self.dataset.fit(&of(&assigned.samples, Part::Train))
        {
            let help = "leave the column out, say `scale = \"none\"`, or split otherwise".to_string();
            found.push(Diagnostic::new(Problem::Data(error.0), split.span).label("by this split").help(help));
        }
    }

    /// The dataset.
    pub fn dataset(&self) -> &dyn Dataset {
        self.dataset.as_ref()
    }

    /// The shape of all samples.
    pub fn shape(&self) -> DataShape {
        self.dataset.shape()
    }

    /// What a trial's identity needs of the dataset.
    pub fn content(&self) -> Option<String> {
        self.dataset.content()
    }

    /// The parts that there are, with their samples; none without a split.
    pub fn parts(&self) -> Vec<(Part, usize)> {
        let there = |(_, count): &(Part, usize)| *count > 0;
        match self.split {
            Some(_) => Part::ALL.into_iter().zip(self.counts).filter(there).collect(),
            None => Vec::new(),
        }
    }

    /// Samples that are trained on.
    pub fn trained_on(&self) -> usize {
        self.counts[0]
    }

    /// How it is split, in words, and how many windows are left out for it.
    pub fn describe_split(&self) -> Option<String> {
        let split = self.split.as_ref()?.describe();
        Some(match self.straddling {
            0 => split,
            1 => format!("{split}, without 1 window that reads rows of a later part"),
            n => format!("{split}, without {n} windows that read rows of a later part"),
        })
    }

    /// Draws the samples; the split has a stream of its own, of its seed or of `seed`.
    ///
    /// # Errors
    /// Where they cannot be had, or their units not be fitted.
    pub fn draw(&self, draws: &mut dyn Draws, seed: u64) -> Result<Parts, DataError> {
        let parts = self.assign(seed).samples;
        let scale = self.dataset.fit(&of(&parts, Part::Train)).map_err(|error| self.unfitted(&error, seed))?;
        let mut data = match &scale {
            Some(scale) => self.dataset.draw_in(scale, draws)?,
            None => self.dataset.draw(draws)?,
        };
        let scale = scale.map(Arc::new);
        if self.split.is_none() {
            data.normalise();
            return Ok(Parts { train: Arc::new(data), scale, ..Parts::default() });
        }
        let pick = |part: Part| {
            let samples = of(&parts, part);
            let mut picked = Data::default();
            data.pick(samples.iter().copied(), &mut picked);
            picked.normalise();
            (!samples.is_empty()).then(|| Arc::new(picked))
        };
        let train = pick(Part::Train).unwrap_or_default();
        Ok(Parts { train, validation: pick(Part::Validation), test: pick(Part::Test), scale })
    }

    /// Why units cannot be fitted; where seeds split differently, by which of them.
    fn unfitted(&self, error: &DataError, seed: u64) -> DataError {
        let random = self.split.as_ref().is_some_and(Split::is_random);
        match self.fixed {
            None if random => DataError(format!("{error}, as seed {seed} splits; `[data.split] seed` fixes one split")),
            _ => error.clone(),
        }
    }

    /// The part of each sample; `seed` counts where no other is fixed.
    fn assign(&self, seed: u64) -> Assigned {
        let n = self.dataset.shape().samples;
        match &self.split {
            None => Assigned { samples: vec![Some(Part::Train); n], cut: n, places: [n, 0, 0], straddling: [0; 3] },
            Some(split) => {
                let (reach, labels) = (self.dataset.reach(), self.dataset.parts());
                split.assign(n, reach.as_ref(), labels.as_deref(), self.fixed.unwrap_or(seed))
            }
        }
    }
}

/// The samples of a part.
fn of(parts: &[Option<Part>], part: Part) -> Vec<usize> {
    (0..parts.len()).filter(|sample| parts[*sample] == Some(part)).collect()
}
