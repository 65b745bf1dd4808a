//! A smooth convex function and a start → where it is least.
//!
//! The optimiser is argmin's L-BFGS with Moré and Thuente's line search: of the crates with one it is the most used and
//! still kept, MIT or Apache, in plain Rust, and brings three crates with it. This is the only file that knows it.
//! Never: an end that is not the least: too few passes, or digits that ran out, are an error.

use std::cell::RefCell;

use argmin::core::{CostFunction, Error, Executor, Gradient};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;

use super::FitError;

/// Steps that the curvature is learnt from. More than the usual ten, since a pass over the rows costs so much more than
/// they do: on 20,000 made-up rows of 256 features forty saved a fifth to a third of the passes.
const REMEMBERED_STEPS: usize = 40;

/// When it is enough.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Of ‖gradient‖ / √value, with unknowns so scaled that curvatures are about 1: then the value is within about
    /// tolerance² / 2 of itself of the least. At 1e-8 f64 runs out of digits of the value.
    pub tolerance: f64,
    /// Values and gradients to be computed.
    pub max_passes: usize,
}

/// Where the value is least.
pub(super) struct Minimum {
    pub at: Vec<f64>,
    pub passes: usize,
    /// ‖gradient‖ / √value.
    pub relative_gradient: f64,
}

/// What a pass finds.
#[derive(Clone)]
pub(super) struct Pass {
    pub value: f64,
    pub gradient: Vec<f64>,
}

/// `function` must be positive, and scaled as [`Limits::tolerance`] says.
///
/// # Errors
/// The limits do not suffice.
pub(super) fn minimise(
    function: impl Fn(&[f64]) -> Pass,
    start: Vec<f64>,
    limits: Limits,
) -> Result<Minimum, FitError> {
    let ledger = RefCell::new(Ledger { passes: 0, last: None, best: (start, f64::INFINITY) });
    loop {
        let before = ledger.borrow().best.clone();
        let solver = LBFGS::new(MoreThuenteLineSearch::new(), REMEMBERED_STEPS)
            .with_tolerance_grad(0.0)
            .and_then(|solver| solver.with_tolerance_cost(0.0));
        // How a descent ends does not matter, only what the ledger holds by then: its end is told to argmin as an error.
        if let Ok(solver) = solver {
            let problem = Problem { function: &function, limits, ledger: &ledger };
            let run = Executor::new(problem, solver).configure(|state| state.param(before.0)).ctrlc(false).run();
            drop(run);
        }
        let Ledger { passes, best: (at, relative_gradient), .. } = &*ledger.borrow();
        if *relative_gradient <= limits.tolerance {
            return Ok(Minimum { at: at.clone(), passes: *passes, relative_gradient: *relative_gradient });
        }
        // A line search fails where rounding hides the descent. Forgetting the curvature helps, as long as it helps.
        if *passes >= limits.max_passes || *relative_gradient > before.1 / 2.0 || relative_gradient.is_infinite() {
            let (wanted, found) = (limits.tolerance, *relative_gradient);
            return Err(FitError::NotConverged { wanted, found, passes: *passes });
        }
    }
}

/// What was computed so far.
struct Ledger {
    passes: usize,
    /// argmin asks for the value and the gradient of a place one after the other; one pass has both.
    last: Option<(Vec<f64>, Pass)>,
    /// The place of the least relative gradient, and that.
    best: (Vec<f64>, f64),
}

struct Problem<'a, F> {
    function: &'a F,
    limits: Limits,
    ledger: &'a RefCell<Ledger>,
}

impl<F: Fn(&[f64]) -> Pass> Problem<'_, F> {
    /// # Errors
    /// It is enough, or will never be.
    fn pass<T>(&self, at: &[f64], wanted: impl Fn(&Pass) -> T) -> Result<T, Error> {
        let mut ledger = self.ledger.borrow_mut();
        if let Some((last_at, pass)) = &ledger.last
            && last_at == at
        {
            return Ok(wanted(pass));
        }
        let is_finite = at.iter().all(|v| v.is_finite());
        if !is_finite || ledger.passes >= self.limits.max_passes || ledger.best.1 <= self.limits.tolerance {
            return Err(Error::msg("the descent is over"));
        }
        let pass = (self.function)(at);
        ledger.passes += 1;
        let relative = pass.gradient.iter().map(|g| g * g).sum::<f64>().sqrt() / pass.value.sqrt();
        if relative < ledger.best.1 {
            ledger.best = (at.to_vec(), relative);
        }
        if !pass.value.is_finite() {
            return Err(Error::msg("the value overflows"));
        }
        let found = wanted(&pass);
        ledger.last = Some((at.to_vec(), pass));
        Ok(found)
    }
}

impl<F: Fn(&[f64]) -> Pass> CostFunction for Problem<'_, F> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, at: &Vec<f64>) -> Result<f64, Error> {
        self.pass(at, |pass| pass.value)
    }
}

impl<F: Fn(&[f64]) -> Pass> Gradient for Problem<'_, F> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, at: &Vec<f64>) -> Result<Vec<f64>, Error> {
        self.pass(at, |pass| pass.gradient.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::{FitError, Limits, Pass, minimise};

    const LIMITS: Limits = Limits { tolerance: 1e-7, max_passes: 1000 };

    /// Σ curvature · (x − 1)² / 2, plus 1.
    fn bowl(curvatures: &[f64]) -> impl Fn(&[f64]) -> Pass {
        move |at| {
            let gradient: Vec<f64> = at.iter().zip(curvatures).map(|(x, c)| c * (x - 1.0)).collect();
            let value = 1.0 + at.iter().zip(&gradient).map(|(x, g)| g * (x - 1.0) / 2.0).sum::<f64>();
            Pass { value, gradient }
        }
    }

    #[test]
    fn the_least_is_found_also_where_curvatures_differ() {
        let found = minimise(bowl(&[1.0, 0.01, 300.0, 7.0]), vec![5.0, -3.0, 0.0, 0.1], LIMITS).ok().unwrap();
        assert!(found.at.iter().all(|x| (x - 1.0).abs() < 1e-4), "{:?}", found.at);
        assert!(found.relative_gradient <= 1e-7 && found.passes < 60, "{} passes", found.passes);
    }

    #[test]
    fn a_start_at_the_least_takes_one_pass() {
        assert_eq!(minimise(bowl(&[1.0, 2.0]), vec![1.0; 2], LIMITS).ok().unwrap().passes, 1);
    }

    #[test]
    fn what_has_no_least_or_takes_too_long_is_an_error() {
        let error = |function: &dyn Fn(&[f64]) -> Pass, max_passes| {
            minimise(function, vec![0.0], Limits { max_passes, ..LIMITS }).err().unwrap()
        };
        let slope = |at: &[f64]| Pass { value: 1.0 + (-at[0]).exp(), gradient: vec![-1.0] }; // and lies
        assert!(matches!(error(&slope, 50), FitError::NotConverged { passes: 1..=50, .. }));
        let nan = |_: &[f64]| Pass { value: f64::NAN, gradient: vec![f64::NAN] };
        assert!(matches!(error(&nan, 50), FitError::NotConverged { passes: 1, .. }));
        assert!(matches!(error(&bowl(&[0.3]), 0), FitError::NotConverged { passes: 0, .. }));
    }
}
