//! Which trials a study asks for, as a function of its plan and of the results that are there.
//!
//! Results are looked at only at planned numbers of seeds, and only when all of these have ended, so that neither the
//! order in which trials end nor an interruption changes what is asked for.

use super::plan::{Plan, TrialPlan};
use super::rule::{Deciding, SeedRule};
use crate::statistics::median_with_failures;
use crate::store::SummaryRow;
use crate::store::manifest::{Dropped, Entrants, RaceResult};
use crate::store::record::Record;
use std::collections::HashMap;
use std::ops::Range;

/// A study going on.
pub struct Schedule<'a> {
    plan: &'a Plan,
    /// What each trial of the plan that has ended says.
    ended: Vec<Option<Said>>,
    /// Whether each trial was asked for.
    asked: Vec<bool>,
    /// Trials that were asked for and have not ended.
    open: usize,
    /// The same of each configuration.
    open_of: Vec<usize>,
    /// Seeds that each configuration was asked for, fresh ones aside.
    seeds: Vec<usize>,
    race: Standing,
}

/// What a trial says of what decides; not a number if it failed.
#[derive(Debug, Clone, Copy)]
struct Said {
    /// The objective of the sweep.
    objective: f64,
    /// The quantity whose mean is to be known.
    sampled: f64,
}

/// How far a race is. What a look decided stands, because all its seeds had ended.
struct Standing {
    /// Looks that were taken.
    looks: usize,
    /// Configurations that are left.
    left: Vec<usize>,
    dropped: Vec<Dropped>,
}

impl<'a> Schedule<'a> {
    /// Begins a study, or goes on with one of which some trials have ended.
    pub fn new(plan: &'a Plan, known: &[SummaryRow]) -> Schedule<'a> {
        let (trials, configurations) = (plan.trials.len(), plan.configurations.list.len());
        let (ended, asked) = (vec![None; trials], vec![false; trials]);
        let race = Standing { looks: 0, left: (0..configurations).collect(), dropped: Vec::new() };
        let (open_of, seeds) = (vec![0; configurations], vec![0; configurations]);
        let mut schedule = Schedule { plan, ended, asked, open: 0, open_of, seeds, race };
        let known: HashMap<&str, &SummaryRow> = known.iter().map(|row| (row.trial.as_str(), row)).collect();
        if !known.is_empty() {
            let said = |row: &&SummaryRow| {
                schedule.said(row.error.is_none(), row.loss, &|i| row.metrics.get(i).copied().flatten())
            };
            schedule.ended = plan.trials.iter().map(|trial| known.get(trial.id.as_str()).map(said)).collect();
        }
        schedule
    }

    /// The plan.
    pub fn plan(&self) -> &'a Plan {
        self.plan
    }

    /// The places of the trials that can be run at once and have not ended.
    pub fn begin(&mut self) -> Vec<usize> {
        let mut due = Vec::new();
        match &self.plan.rule {
            SeedRule::Fixed => {
                (0..self.seeds.len()).for_each(|c| self.ask_first(c, self.plan.spec.seeds.len(), &mut due))
            }
            SeedRule::Until(..) => (0..self.seeds.len()).for_each(|c| self.go_on(c, &mut due)),
            SeedRule::Race(..) => self.race_on(&mut due),
        }
        self.finish(&mut due);
        due
    }

    /// The trial at a place ended; gives the places of the trials that can be run now.
    pub fn ended(&mut self, place: usize, record: &Record) -> Vec<usize> {
        let mut due = Vec::new();
        let configuration = self.plan.trials[place].configuration;
        let (loss, metric) = (record.loss.first().copied(), |i: usize| record.metrics.get(i).copied());
        let said = self.said(record.completed(), loss, &metric);
        if self.ended[place].replace(said).is_none() && self.asked[place] {
            self.open -= 1;
            self.open_of[configuration] -= 1;
        }
        match &self.plan.rule {
            SeedRule::Until(..) if self.open_of[configuration] == 0 => self.go_on(configuration, &mut due),
            SeedRule::Race(..) if self.open == 0 => self.race_on(&mut due),
            SeedRule::Fixed | SeedRule::Until(..) | SeedRule::Race(..) => {}
        }
        self.finish(&mut due);
        due
    }

    fn said(&self, completed: bool, loss: Option<f64>, metric: &dyn Fn(usize) -> Option<f64>) -> Said {
        let value = |deciding: &Deciding| if completed { deciding.value(loss, metric) } else { f64::NAN };
        let sampled = if let SeedRule::Until(_, sampled) = &self.plan.rule { value(sampled) } else { f64::NAN };
        Said { objective: value(&self.plan.objective), sampled }
    }

    /// Whether everything that was asked for has ended.
    pub fn is_finished(&self) -> bool {
        self.open == 0
    }

    /// The trials that were asked for so far, ended or not.
    pub fn asked(&self) -> impl Iterator<Item = &'a TrialPlan> + '_ {
        self.places().map(|place| &self.plan.trials[place])
    }

    /// Their places in the plan.
    pub fn places(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.asked.len()).filter(|place| self.asked[*place])
    }

    /// The trials that were asked for, fresh seeds aside, where results decided on them.
    pub fn entrants(&self) -> Option<Entrants> {
        if matches!(self.plan.rule, SeedRule::Fixed) && self.plan.fresh().is_empty() {
            return None;
        }
        let ids = self.plan.configurations.list.iter().map(|configuration| configuration.id.clone());
        let configs = ids.zip(self.seeds.iter().copied()).collect();
        Some(Entrants { seeds: self.plan.spec.seeds.clone(), configs })
    }

    /// How the race went, if this is one, or how its winner did on fresh seeds.
    pub fn race(&self) -> Option<RaceResult> {
        let fresh = self.plan.fresh();
        let (looks, rule) = match &self.plan.rule {
            SeedRule::Race(pruner, contest) => (contest.looks.clone(), pruner.rule(contest)),
            SeedRule::Fixed | SeedRule::Until(..) if fresh.is_empty() => return None,
            SeedRule::Fixed | SeedRule::Until(..) => (Vec::new(), String::new()),
        };
        let winner = if self.is_finished() { self.winner() } else { None };
        Some(RaceResult {
            looks,
            rule,
            dropped: self.race.dropped.clone(),
            winner: winner.map(|winner| self.plan.configurations.list[winner].id.clone()),
            fresh: self.plan.trials[fresh].iter().map(|trial| trial.seed).collect(),
        })
    }

    /// Asks for the first seeds of a configuration.
    fn ask_first(&mut self, configuration: usize, seeds: usize, due: &mut Vec<usize>) {
        self.seeds[configuration] = seeds;
        self.ask(configuration, 0..seeds, due);
    }

    /// Asks for some trials of a configuration.
    fn ask(&mut self, configuration: usize, seeds: Range<usize>, due: &mut Vec<usize>) {
        let first = configuration * self.plan.per_configuration();
        for place in first + seeds.start..first + seeds.end {
            if !std::mem::replace(&mut self.asked[place], true) && self.ended[place].is_none() {
                self.open += 1;
                self.open_of[configuration] += 1;
                due.push(place);
            }
        }
    }

    /// What a configuration's first seeds say.
    fn first(&self, configuration: usize, seeds: usize) -> &[Option<Said>] {
        let first = configuration * self.plan.per_configuration();
        &self.ended[first..first + seeds]
    }

    /// Asks for the seeds that a configuration needs until its mean is known.
    fn go_on(&mut self, configuration: usize, due: &mut Vec<usize>) {
        let SeedRule::Until(sampling, sampled) = &self.plan.rule else { return };
        let said = self.first(configuration, self.plan.spec.seeds.len());
        let values: Vec<Option<f64>> = said.iter().map(|said| said.map(|said| said.sampled)).collect();
        let seeds = sampling.precision.known(sampled.of, &values).seeds();
        self.ask_first(configuration, seeds, due);
    }

    /// Takes the looks of a race for which all seeds have ended, and asks for the seeds of the next one.
    fn race_on(&mut self, due: &mut Vec<usize>) {
        let SeedRule::Race(pruner, contest) = &self.plan.rule else { return };
        while let Some(&seeds) = contest.looks.get(self.race.looks).filter(|_| self.race.left.len() > 1) {
            for configuration in self.race.left.clone() {
                self.ask_first(configuration, seeds, due);
            }
            let objective = |said: &Option<Said>| said.map(|said| said.objective);
            let of = |c: &usize| self.first(*c, seeds).iter().map(objective).collect::<Option<Vec<f64>>>();
            let Some(values) = self.race.left.iter().map(of).collect::<Option<Vec<_>>>() else { return };
            let values: Vec<&[f64]> = values.iter().map(Vec::as_slice).collect();
            let dropped = pruner.dropped(&values, contest);
            let id = |place: usize| self.plan.configurations.list[self.race.left[place]].id.clone();
            let told = dropped.iter().map(|(place, p)| Dropped { config: id(*place), seeds, p: *p });
            self.race.dropped.extend(told.collect::<Vec<_>>());
            let mut place = 0..;
            let stays = |i: usize| !dropped.iter().any(|(other, _)| *other == i);
            self.race.left.retain(|_| place.next().is_none_or(stays));
            self.race.looks += 1;
        }
    }

    /// When all else has ended, asks for the winner's fresh seeds.
    fn finish(&mut self, due: &mut Vec<usize>) {
        let fresh = self.plan.fresh();
        if self.open == 0
            && !fresh.is_empty()
            && let Some(winner) = self.winner()
        {
            self.ask(winner, fresh, due);
        }
    }

    /// The best by the median over its seeds, without fresh ones, of the configurations that are left.
    fn winner(&self) -> Option<usize> {
        let sign = if self.plan.objective.maximize { -1.0 } else { 1.0 };
        let median_of = |c: &usize| {
            let said: Vec<f64> = self.first(*c, self.seeds[*c]).iter().flatten().map(|s| s.objective).collect();
            let completed: Vec<f64> = said.iter().filter(|value| !value.is_nan()).map(|value| sign * value).collect();
            let failed = said.len() - completed.len();
            median_with_failures(completed, failed)
        };
        let medians = self.race.left.iter().map(|c| (*c, median_of(c))).filter(|(_, median)| median.is_finite());
        medians.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(winner, _)| winner)
    }
}
