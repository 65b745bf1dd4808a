use super::{Examples, FitError, Logistic, Options, Weights};

/// Eight features, of which one is a thousand times as large as the others and one far from 0.
fn features(n: u32) -> (Vec<f32>, Vec<bool>) {
    let mut state = 1_u32;
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); // Numerical Recipes
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    let row = |_| {
        let fake = draw() > 0.1;
        let mut x: [f32; 8] = std::array::from_fn(|_| draw() + if fake { 0.2 } else { 0.0 });
        x[1] *= 1000.0;
        x[2] += 50.0;
        (x, fake)
    };
    let (x, fake): (Vec<[f32; 8]>, Vec<bool>) = (0..n).map(row).unzip();
    (x.concat(), fake)
}

fn examples<'a>(x: &'a [f32], fake: &'a [bool], weights: Weights<'a>) -> Examples<'a> {
    Examples { x, width: 8, fake, weights }
}

fn apart(a: &Logistic, b: &Logistic) -> f64 {
    let pairs = a.weight.iter().zip(&b.weight).chain([(&a.bias, &b.bias)]);
    pairs.map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f64::max)
}

#[test]
fn the_same_bits_come_out_of_any_number_of_threads() {
    let (x, fake) = features(5000);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Logistic::fit(examples(&x, &fake, Weights::Balanced), Options::default())).unwrap()
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn a_start_nearby_saves_passes_and_leads_to_the_same_place() {
    let (x, fake) = features(3000);
    let examples = examples(&x, &fake, Weights::Equal);
    let near = Logistic::fit(examples, Options { inverse_penalty: 0.9, ..Options::default() }).unwrap();
    let cold = Logistic::fit(examples, Options::default()).unwrap();
    let warm = Logistic::fit(examples, Options { start: Some(&near), ..Options::default() }).unwrap();
    assert!(apart(&warm, &cold) < 1e-5 && warm.passes < cold.passes, "{} and {} passes", warm.passes, cold.passes);
}

#[test]
fn a_weight_of_two_is_two_rows_and_one_of_zero_is_none() {
    let (x, fake) = features(400);
    let weights: Vec<f64> = (0..400).map(|row| f64::from(row % 3)).collect();
    let times = |row: usize| row % 3;
    let repeated: Vec<f32> = (0..400).flat_map(|row| x[row * 8..][..8].repeat(times(row))).collect();
    let repeated_fake: Vec<bool> = (0..400).flat_map(|row| std::iter::repeat_n(fake[row], times(row))).collect();
    let by_weight = Logistic::fit(examples(&x, &fake, Weights::PerRow(&weights)), Options::default()).unwrap();
    let by_rows = Logistic::fit(examples(&repeated, &repeated_fake, Weights::Equal), Options::default()).unwrap();
    assert!(apart(&by_weight, &by_rows) < 1e-5);
}

#[test]
fn a_constant_feature_weighs_nothing_and_a_doubled_one_is_shared() {
    let (mut x, fake) = features(300);
    x.chunks_exact_mut(8).for_each(|row| (row[3], row[5]) = (0.25, row[4]));
    let found = Logistic::fit(examples(&x, &fake, Weights::Equal), Options::default()).unwrap();
    assert!(found.weight[3].abs() < 1e-9 && (found.weight[4] - found.weight[5]).abs() < 1e-9, "{found:?}");
}

#[test]
fn what_has_not_converged_is_not_a_fit() {
    let (x, fake) = features(300);
    let few = Options { max_passes: 3, ..Options::default() };
    let found = Logistic::fit(examples(&x, &fake, Weights::Equal), few).unwrap_err();
    assert!(matches!(found, FitError::NotConverged { passes: 3, .. }), "{found}");
    let beyond_f64 = Options { tolerance: 1e-30, ..Options::default() };
    let found = Logistic::fit(examples(&x, &fake, Weights::Equal), beyond_f64).unwrap_err();
    assert!(matches!(found, FitError::NotConverged { passes: ..1000, .. }), "{found}");
}

#[test]
fn what_cannot_be_fitted_is_said() {
    let (x, fake) = features(10);
    let check = |examples: Examples, options: Options, expected: &str| {
        let found = Logistic::fit(examples, options).unwrap_err().to_string();
        assert!(found.starts_with(expected), "expected {expected:?}, found {found:?}");
    };
    let (good, usual) = (examples(&x, &fake, Weights::Equal), Options::default());
    check(Examples { x: &x[1..], ..good }, usual, "features: expected 80 values, found 79");
    check(Examples { width: 0, x: &[], ..good }, usual, "width");
    check(Examples { x: &[], fake: &[], ..good }, usual, "labels: expected real and fake ones");
    check(
        Examples { fake: &[true; 10], ..good },
        usual,
        "labels: expected real and fake ones, found 0 real and 10 fake",
    );
    for odd in [f32::NAN, f32::INFINITY] {
        let mut x = x.clone();
        x[17] = odd;
        check(Examples { x: &x, ..good }, usual, "features: expected finite numbers");
    }
    for c in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        check(good, Options { inverse_penalty: c, ..usual }, "C: expected a positive, finite number");
    }
    check(Examples { weights: Weights::ByClass { real: 1.0, fake: 0.0 }, ..good }, usual, "weight of fake rows");
    check(Examples { weights: Weights::PerRow(&[1.0; 9]), ..good }, usual, "weights: expected 10 values, found 9");
    check(Examples { weights: Weights::PerRow(&[-1.0; 10]), ..good }, usual, "weights: expected finite ones");
    check(Examples { weights: Weights::PerRow(&[0.0; 10]), ..good }, usual, "labels: expected real and fake ones");
    let start = Logistic { weight: vec![0.0; 7], bias: 0.0, passes: 0, relative_gradient: 0.0 };
    check(good, Options { start: Some(&start), ..usual }, "start: expected 8 values, found 7");
    let start = Logistic { weight: vec![f64::NAN; 8], ..start };
    check(good, Options { start: Some(&start), ..usual }, "start: expected finite numbers");
}

#[test]
fn extreme_numbers_end_in_a_fit_or_an_error() {
    let fake = [false, true, false, true];
    for x in [[f32::MAX, f32::MIN, 0.0, f32::MAX], [1e-40, 0.0, 1e-40, 0.0], [f32::MAX; 4], [-0.0; 4]] {
        for inverse_penalty in [1e-300, 1e-3, 1e4, 1e300] {
            let examples = Examples { x: &x, width: 1, fake: &fake, weights: Weights::Equal };
            let found = Logistic::fit(examples, Options { inverse_penalty, max_passes: 500, ..Options::default() });
            assert!(found.is_err() || found.is_ok_and(|fit| fit.weight[0].is_finite() && fit.bias.is_finite()));
        }
    }
}
