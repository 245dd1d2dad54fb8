//! Guesses what a dependency run will say: what it said last time for the same command.
//!
//! A guess saves waiting, never the run. The unit is sent at once with the inputs that the guess leads to, the run goes on
//! beside it, and nothing that came of a guess is used before the run has said the same. So any guess is safe, and a
//! developer who compiles one file again does not wait for its preprocessor and then for its compiler.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::prepare::Workbench;
use crate::model::digest::{Digest, DigestBuilder};
use crate::model::limits::FORECAST_BYTES_MAX;
use crate::model::reason::{Reason, Why};
use crate::os::inputs::{self, Dependencies, Inputs, Unit as Wanted};

/// Answers of earlier dependency runs, those of long ago forgotten.
#[derive(Debug, Default)]
pub(super) struct Forecasts(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    by_command: HashMap<Digest, (u64, Arc<Dependencies>)>,
    by_age: BTreeMap<u64, Digest>,
    bytes: usize,
    n_answers: u64,
}

impl Forecasts {
    fn of(&self, command: &Digest) -> Option<Arc<Dependencies>> {
        self.kept().by_command.get(command).map(|(_, answer)| answer.clone())
    }

    fn note(&self, command: Digest, answer: Arc<Dependencies>) {
        let mut kept = self.kept();
        kept.forget(&command);
        kept.n_answers += 1;
        kept.bytes += answer.bytes();
        let age = kept.n_answers;
        kept.by_age.insert(age, command);
        kept.by_command.insert(command, (age, answer));
        while kept.bytes > FORECAST_BYTES_MAX {
            let Some((_, oldest)) = kept.by_age.first_key_value().map(|(age, command)| (*age, *command)) else { break };
            kept.forget(&oldest);
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn forget(&mut self, command: &Digest) {
        if let Some((age, answer)) = self.by_command.remove(command) {
            self.by_age.remove(&age);
            self.bytes -= answer.bytes();
        }
    }
}

/// None: as guessed.
type Verdict = Result<Option<Arc<Inputs>>, Why>;

/// A unit's inputs: guessed until the dependency run has spoken.
#[derive(Debug)]
pub(super) struct Sourcing {
    wanted: Arc<Wanted>,
    first: Arc<Inputs>,
    run: watch::Receiver<Option<Verdict>>,
}

impl Sourcing {
    /// The command with the environment of its caller.
    pub(super) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// What is known by now.
    pub(super) fn best(&self) -> Result<Arc<Inputs>, Why> {
        self.judge(&self.run.borrow())
    }

    /// What the dependency run has said; waits for it. The same `Arc` as [`Self::best`] gave, if that was right.
    pub(super) async fn settled(&self) -> Result<Arc<Inputs>, Why> {
        let mut run = self.run.clone();
        match run.wait_for(Option::is_some).await {
            Ok(verdict) => self.judge(&verdict),
            Err(_) => Err(Why::new(Reason::DependencyRun, "the daemon is stopping")),
        }
    }

    fn judge(&self, verdict: &Option<Verdict>) -> Result<Arc<Inputs>, Why> {
        match verdict {
            None | Some(Ok(None)) => Ok(self.first.clone()),
            Some(Ok(Some(inputs))) => Ok(inputs.clone()),
            Some(Err(why)) => Err(why.clone()),
        }
    }
}

impl Workbench {
    /// Finds a unit's inputs: at once by a guess, or else by the dependency run.
    pub(super) async fn source(self: &Arc<Self>, wanted: Wanted) -> Result<Sourcing, Why> {
        let command = identity(&wanted);
        let wanted = Arc::new(wanted);
        let (verdict, run) = watch::channel(None);
        if let Some(guess) = self.forecasts.of(&command) {
            // Where it leads nowhere, the run says why.
            if let Ok(inputs) = self.complete(&wanted, &guess).await {
                let (bench, unit) = (self.clone(), wanted.clone());
                tokio::spawn(async move { verdict.send(Some(bench.confirm(command, &unit, &guess).await)) });
                return Ok(Sourcing { wanted, first: inputs, run });
            }
        }
        let answer = self.ask(&wanted).await?;
        let inputs = self.complete(&wanted, &answer).await?;
        self.forecasts.note(command, answer);
        verdict.send_replace(Some(Ok(None)));
        Ok(Sourcing { wanted, first: inputs, run })
    }

    /// The dependency run beside a unit that is under way.
    async fn confirm(&self, command: Digest, wanted: &Arc<Wanted>, guess: &Arc<Dependencies>) -> Verdict {
        let answer = self.ask(wanted).await?;
        if answer == *guess {
            return Ok(None);
        }
        let inputs = self.complete(wanted, &answer).await?;
        self.forecasts.note(command, answer);
        Ok(Some(inputs))
    }

    async fn ask(&self, wanted: &Arc<Wanted>) -> Result<Arc<Dependencies>, Why> {
        let _permit = self.runs.acquire().await.map_err(|_| Why::from(Reason::DependencyRun))?;
        let wanted = wanted.clone();
        let asked = spawn_blocking(move || inputs::ask(&wanted)).await;
        Ok(Arc::new(asked.map_err(|error| Why::new(Reason::DependencyRun, error.to_string()))??))
    }

    async fn complete(&self, wanted: &Arc<Wanted>, answer: &Arc<Dependencies>) -> Result<Arc<Inputs>, Why> {
        let (wanted, answer, scans) = (wanted.clone(), answer.clone(), self.scans.clone());
        let completed = spawn_blocking(move || inputs::complete(&wanted, &answer, &scans)).await;
        Ok(Arc::new(completed.map_err(|error| Why::new(Reason::DependencyRun, error.to_string()))??))
    }
}

/// Stands for a command in a directory. What else could change the answer need not be in it: it is a guess.
fn identity(wanted: &Wanted) -> Digest {
    let mut digest = DigestBuilder::new();
    let words = wanted.command.dependency_run(b"").unwrap_or_default();
    for word in words.iter().chain([&wanted.command.source, &wanted.cwd]) {
        digest.update(&(word.len() as u64).to_le_bytes());
        digest.update(word);
    }
    digest.finish()
}
