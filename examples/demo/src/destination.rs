//! Pages to redirect to after a sign-in or a confirmation.

use serde::Deserialize;

/// Page of this site. A form sends its name, never a URL, so a link cannot redirect to another site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum Destination {
    #[default]
    Shop,
    Cart,
    Devices,
    Password,
}

impl Destination {
    const ALL: [Self; 4] = [Self::Shop, Self::Cart, Self::Devices, Self::Password];

    pub fn name(self) -> &'static str {
        match self {
            Self::Shop => "shop",
            Self::Cart => "cart",
            Self::Devices => "devices",
            Self::Password => "password",
        }
    }

    pub fn path(self) -> &'static str {
        match self {
            Self::Shop => "/",
            Self::Cart => "/cart",
            Self::Devices => "/devices",
            Self::Password => "/password",
        }
    }

    /// Returns why the page asks to sign in; the shop does not ask.
    pub fn purpose(self) -> Option<&'static str> {
        match self {
            Self::Shop => None,
            Self::Cart => Some("Please sign in to order."),
            Self::Devices => Some("Please sign in to see your devices."),
            Self::Password => Some("Please sign in to change your password."),
        }
    }

    /// Returns the page with this path, or the page above it.
    pub fn from_path(path: &str) -> Self {
        let below = |page: &Self| *page != Self::Shop && path.starts_with(page.path());
        Self::ALL.into_iter().find(below).unwrap_or_default()
    }
}

impl From<String> for Destination {
    fn from(name: String) -> Self {
        Self::ALL.into_iter().find(|page| page.name() == name).unwrap_or_default()
    }
}

/// Query `?to=devices`, with `&ended=true` if the session of the page before has ended.
#[derive(Default, Deserialize)]
pub struct To {
    #[serde(default)]
    pub to: Destination,
    #[serde(default)]
    pub ended: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A URL in place of a name leads to the shop.
    #[test]
    fn a_destination_is_a_page_of_this_site() {
        for page in Destination::ALL {
            assert_eq!(Destination::from(page.name().to_owned()), page);
            assert_eq!(Destination::from_path(page.path()), page);
        }
        for elsewhere in ["https://example.org", "//example.org", "/\\example.org", "javascript:alert(1)", ""] {
            assert_eq!(Destination::from(elsewhere.to_owned()), Destination::Shop);
        }
        assert_eq!(Destination::from_path("/devices/end-others"), Destination::Devices);
        assert_eq!(Destination::from_path("/elsewhere"), Destination::Shop);
    }
}
