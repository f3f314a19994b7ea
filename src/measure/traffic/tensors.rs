use std::collections::BTreeMap;

use super::quantiles::{Quantiles, Sample};
use crate::shape::{Dimensions, TensorShape, TensorType};

/// Counts input tensors. Takes no room while there are none.
#[derive(Default)]
pub(super) struct TensorMeter {
    exchanges: u64,
    by_datatype: BTreeMap<TensorType, u64>,
    elements: Option<Box<Sample>>,
}

impl TensorMeter {
    /// The tensors of one exchange.
    pub(super) fn add(&mut self, tensors: &[TensorShape]) {
        self.exchanges += u64::from(!tensors.is_empty());
        for tensor in tensors {
            *self.by_datatype.entry(tensor.datatype).or_default() += 1;
            if let Some(dimensions) = &tensor.dimensions {
                let sample = self.elements.get_or_insert_with(|| Box::new(Sample::new()));
                sample.add(elements(dimensions));
            }
        }
    }

    /// Exchanges that have any, how many tensors are of which type, and how many elements each has.
    pub(super) fn finish(self) -> (u64, BTreeMap<TensorType, u64>, Option<Quantiles>) {
        let elements = self.elements.and_then(|sample| sample.finish(1.0));
        (self.exchanges, self.by_datatype, elements)
    }
}

/// A tensor without dimensions is a single element.
fn elements(dimensions: &Dimensions) -> u64 {
    let sizes = dimensions.sizes().iter().map(|&size| u64::from(size));
    sizes.fold(1, u64::saturating_mul)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_the_product_of_the_dimensions() {
        let of = |sizes: &[u32]| elements(&Dimensions::of(sizes.iter().copied()).unwrap());
        assert_eq!(of(&[]), 1);
        assert_eq!(of(&[2, 3, 4]), 24);
        assert_eq!(of(&[2, 0]), 0);
        assert_eq!(of(&[u32::MAX; 8]), u64::MAX);
    }
}
