//! How a token travels.

mod cookie;

pub(crate) use self::cookie::{Candidates, CookieOptions, CookieTemplate};
