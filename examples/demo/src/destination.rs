//! Where to go on after a sign-in or a confirmation.

use serde::Deserialize;

/// A page of this site. Forms name it; nothing that a link says can lead anywhere else.
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

    /// The page that a path belongs to.
    pub fn of_path(path: &str) -> Self {
        let below = |page: &Self| *page != Self::Shop && path.starts_with(page.path());
        Self::ALL.into_iter().find(below).unwrap_or_default()
    }
}

impl From<String> for Destination {
    fn from(name: String) -> Self {
        Self::ALL.into_iter().find(|page| page.name() == name).unwrap_or_default()
    }
}

/// `?to=devices`
#[derive(Default, Deserialize)]
pub struct To {
    #[serde(default)]
    pub to: Destination,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_this_site_and_no_other() {
        for page in Destination::ALL {
            assert_eq!(Destination::from(page.name().to_owned()), page);
            assert_eq!(Destination::of_path(page.path()), page);
        }
        for elsewhere in ["https://example.org", "//example.org", "/\\example.org", "javascript:alert(1)", ""] {
            assert_eq!(Destination::from(elsewhere.to_owned()), Destination::Shop);
        }
        assert_eq!(Destination::of_path("/devices/end-others"), Destination::Devices);
        assert_eq!(Destination::of_path("/elsewhere"), Destination::Shop);
    }
}
