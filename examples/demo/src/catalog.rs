//! The catalog of teas.

pub struct Tea {
    /// Code of the tea in forms and carts.
    pub code: &'static str,
    pub name: &'static str,
    pub note: &'static str,
    pub cents: u32,
    /// Color in the cup.
    pub color: &'static str,
}

pub const TEAS: [Tea; 12] = [
    tea("assam", "Assam", "Malty and strong, made for milk", 640, "#a4471c"),
    tea("chamomile", "Chamomile", "Apple and honey, for the evening", 520, "#e0b43c"),
    tea("darjeeling", "Darjeeling", "First flush, light and flowery", 980, "#d08a34"),
    tea("earl-grey", "Earl Grey", "Black tea with oil of bergamot", 690, "#8f3d1d"),
    tea("genmaicha", "Genmaicha", "Green tea with roasted rice", 720, "#a9a53a"),
    tea("lapsang", "Lapsang Souchong", "Dried over a fire of pine", 860, "#6f2f1c"),
    tea("oolong", "Oolong", "Rolled leaves for many infusions", 1150, "#c98a2d"),
    tea("peppermint", "Peppermint", "Clear and cool, without caffeine", 480, "#7fb069"),
    tea("pu-erh", "Pu-erh", "Aged for years, earthy and dark", 1290, "#4a2318"),
    tea("rooibos", "Rooibos", "Red bush from the Cape", 510, "#b3431f"),
    tea("sencha", "Sencha", "Steamed, fresh as cut grass", 890, "#8db255"),
    tea("white-peony", "White Peony", "Young buds, soft and sweet", 1340, "#e3cd8b"),
];

/// Returns the tea with this code.
pub fn find(code: &str) -> Option<&'static Tea> {
    TEAS.iter().find(|tea| tea.code == code)
}

/// Formats an amount as a price.
pub fn price(cents: u32) -> String {
    format!("€{}.{:02}", cents / 100, cents % 100)
}

const fn tea(code: &'static str, name: &'static str, note: &'static str, cents: u32, color: &'static str) -> Tea {
    Tea { code, name, note, cents, color }
}
