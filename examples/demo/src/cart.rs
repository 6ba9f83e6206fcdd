//! The cart, a value in the session.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalog::{self, Tea};

/// Maximum number of packets of one tea.
const MAX_PACKETS: u32 = 99;

/// Number of packets by the code of the tea.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cart(BTreeMap<String, u32>);

impl Cart {
    pub fn add(&mut self, tea: &Tea) {
        let packets = self.0.entry(tea.code.to_owned()).or_default();
        *packets = (*packets + 1).min(MAX_PACKETS);
    }

    /// Removes one packet.
    pub fn take(&mut self, tea: &Tea) {
        if let Some(packets) = self.0.get_mut(tea.code) {
            *packets -= 1;
        }
        self.0.retain(|_, packets| *packets > 0);
    }

    /// Returns teas and their packets, without teas that are no longer sold.
    pub fn lines(&self) -> impl Iterator<Item = (&'static Tea, u32)> {
        self.0.iter().filter_map(|(code, packets)| Some((catalog::find(code)?, *packets)))
    }

    /// Returns the number of packets.
    pub fn count(&self) -> u32 {
        self.lines().map(|(_, packets)| packets).sum()
    }

    pub fn cents(&self) -> u32 {
        self.lines().map(|(tea, packets)| tea.cents * packets).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adding and taking change the count and the total, within the bounds.
    #[test]
    fn adding_and_taking_change_the_count() {
        let (assam, sencha) = (catalog::find("assam").expect("sold"), catalog::find("sencha").expect("sold"));
        let mut cart = Cart::default();
        for _ in 0..2 {
            cart.add(assam);
        }
        cart.add(sencha);
        assert_eq!((cart.count(), cart.cents()), (3, 2 * 640 + 890));

        cart.take(sencha);
        cart.take(sencha);
        assert_eq!(cart.lines().map(|(tea, packets)| (tea.code, packets)).collect::<Vec<_>>(), [("assam", 2)]);

        for _ in 0..200 {
            cart.add(assam);
        }
        assert_eq!(cart.count(), MAX_PACKETS);
    }
}
