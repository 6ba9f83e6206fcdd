//! The one statistic used: the median, which a few disturbed samples do not move.

/// The median of some samples. NaN where there are none.
pub(crate) fn median(samples: impl IntoIterator<Item = f64>) -> f64 {
    let mut samples: Vec<f64> = samples.into_iter().collect();
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    samples.get(middle).copied().unwrap_or(f64::NAN)
}
