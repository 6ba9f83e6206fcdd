//! The cart, as the session keeps it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalogue::{self, Tea};

/// The most packets of one tea.
const MOST: u32 = 99;

/// How many packets of which tea, by its code.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cart(BTreeMap<String, u32>);

impl Cart {
    pub fn add(&mut self, tea: &Tea) {
        let packets = self.0.entry(tea.code.to_owned()).or_default();
        *packets = (*packets + 1).min(MOST);
    }

    /// Takes one packet out.
    pub fn take(&mut self, tea: &Tea) {
        if let Some(packets) = self.0.get_mut(tea.code) {
            *packets -= 1;
        }
        self.0.retain(|_, packets| *packets > 0);
    }

    /// Teas and packets. A tea that is no longer sold is not among them.
    pub fn lines(&self) -> impl Iterator<Item = (&'static Tea, u32)> {
        self.0.iter().filter_map(|(code, packets)| Some((catalogue::find(code)?, *packets)))
    }

    /// How many packets there are.
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

    #[test]
    fn packets_go_in_and_out() {
        let (assam, sencha) = (catalogue::find("assam").expect("sold"), catalogue::find("sencha").expect("sold"));
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
        assert_eq!(cart.count(), MOST);
    }
}
