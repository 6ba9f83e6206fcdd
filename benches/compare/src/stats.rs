//! Medians, which a few outliers do not change, and quartiles, which show the spread.

/// Quartiles: a quarter of the samples is below `low`, and a quarter above `high`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quartiles {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

/// Returns the median of the samples, or NaN without samples.
pub(crate) fn median(samples: impl IntoIterator<Item = f64>) -> f64 {
    quartiles(samples).median
}

/// Returns the quartiles of the samples, or NaN without samples.
pub(crate) fn quartiles(samples: impl IntoIterator<Item = f64>) -> Quartiles {
    let mut samples: Vec<f64> = samples.into_iter().collect();
    samples.sort_by(f64::total_cmp);
    let quarter = |quarters: usize| samples.get(samples.len() * quarters / 4).copied().unwrap_or(f64::NAN);
    Quartiles { low: quarter(1), median: quarter(2), high: quarter(3) }
}
