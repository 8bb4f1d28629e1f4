//! Densities of ratios: which ratios, on which scale, on which grid.

use serde::{Deserialize, Serialize};

use crate::kernel_density::{KernelDensity, NoDensity};
use crate::quantile::quantile;
use crate::sorted::SortedRatios;
use crate::trim::trimmed;

/// Places of a grid.
const GRID: usize = 512;
/// How far a grid goes beyond the ratios, in bandwidths.
const MARGIN: f64 = 3.0;
/// Up to this many ratios the kernels of all of them are summed.
const MOST_EXACT: usize = 10_000;

/// The scale on which a density is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// The ratios themselves.
    Linear,
    /// Their decimal logarithms: a density by decade.
    Log10,
}

/// How the kernels were summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KernelSum {
    /// All of them, at each place ([`KernelDensity::exact`]).
    Exact,
    /// Over fine bins, because there are many ([`KernelDensity::binned`]).
    Binned,
}

/// The density of ratios on a grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DensityCurve {
    /// The scale of `grid`, `density` and `bandwidth`.
    pub scale: Scale,
    /// Number of ratios that the density is of.
    pub ratios: u64,
    /// Number of ratios left out: on the linear scale those that the article cuts at both ends,
    /// since a few extreme ones would flatten the whole curve; on the logarithmic one those of 0.
    pub left_out: u64,
    /// The kernels' standard deviation, by Silverman's rule.
    pub bandwidth: f64,
    /// How the kernels were summed.
    pub sum: KernelSum,
    /// Ascending places: ratios, or log10 of ratios. On the linear scale they begin at 0 or above
    /// and end at the 99th percentile and a margin.
    pub grid: Vec<f64>,
    /// The density at each place.
    pub density: Vec<f64>,
}

/// The density of ratios, or why they have none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Density {
    /// There is one.
    Curve(DensityCurve),
    /// The ratios have no spread.
    Missing {
        /// Why not.
        reason: NoDensity,
    },
}

impl Density {
    /// Of ratios on a scale. Ratios without a spread are no error: they have no density.
    pub fn of(ratios: &SortedRatios, scale: Scale) -> Self {
        match DensityCurve::of(ratios, scale) {
            Ok(curve) => Self::Curve(curve),
            Err(reason) => Self::Missing { reason },
        }
    }

    /// The curve, if there is one.
    pub fn curve(&self) -> Option<&DensityCurve> {
        match self {
            Self::Curve(curve) => Some(curve),
            Self::Missing { .. } => None,
        }
    }
}

impl DensityCurve {
    /// Of ratios on a scale.
    ///
    /// # Errors
    ///
    /// If the ratios have no spread.
    pub fn of(ratios: &SortedRatios, scale: Scale) -> Result<Self, NoDensity> {
        let values = ratios.values();
        match scale {
            Scale::Linear => {
                let kept = trimmed(values);
                let density = KernelDensity::silverman(kept)?;
                let margin = MARGIN * density.bandwidth();
                let low = (kept[0] - margin).max(0.0);
                let end = quantile(values, 0.99).unwrap_or(0.0);
                // The 99th percentile may be the only value, as where few ratios are not 0.
                let high = end.min(kept[kept.len() - 1]).max(low) + margin;
                Ok(Self::on(
                    &density,
                    scale,
                    values.len(),
                    kept.len(),
                    [low, high],
                ))
            }
            Scale::Log10 => {
                let positive = ratios.positive().iter();
                let logarithms: Vec<f64> = positive.map(|ratio| ratio.log10()).collect();
                let density = KernelDensity::silverman(&logarithms).map_err(|reason| {
                    match (reason, ratios.positive()) {
                        // In the ratios' own words.
                        (NoDensity::OneValue { .. }, [value, ..]) => {
                            NoDensity::OneValue { value: *value }
                        }
                        _ => reason,
                    }
                })?;
                let margin = MARGIN * density.bandwidth();
                let ends = [
                    logarithms[0] - margin,
                    logarithms[logarithms.len() - 1] + margin,
                ];
                Ok(Self::on(
                    &density,
                    scale,
                    values.len(),
                    logarithms.len(),
                    ends,
                ))
            }
        }
    }

    fn on(
        density: &KernelDensity<'_>,
        scale: Scale,
        all: usize,
        count: usize,
        [low, high]: [f64; 2],
    ) -> Self {
        let step = (high - low) / (GRID - 1) as f64;
        let grid: Vec<f64> = (0..GRID).map(|index| low + index as f64 * step).collect();
        let (sum, heights) = match count <= MOST_EXACT {
            true => (KernelSum::Exact, density.exact(&grid)),
            false => (KernelSum::Binned, density.binned(&grid)),
        };
        Self {
            scale,
            ratios: count as u64,
            left_out: (all - count) as u64,
            bandwidth: density.bandwidth(),
            sum,
            grid,
            density: heights,
        }
    }
}
