//! The parts that forms are made of.

use maud::{Markup, html};
use sessile::csrf::CsrfToken;

use crate::destination::Destination;
use crate::passwords;

/// A page that is one form.
pub struct FormPage<'a> {
    pub title: &'a str,
    /// What to know before filling it in.
    pub lead: Markup,
    /// Where it is posted to.
    pub action: &'a str,
    pub fields: Markup,
    pub button: &'a str,
    /// What to do instead.
    pub instead: Markup,
}

impl FormPage<'_> {
    /// What is wrong with what was sent is said once, before the form (WCAG 2.2 §3.3.1).
    pub fn show(&self, token: &CsrfToken, wrong: Option<&str>) -> Markup {
        html! {
            section .narrow {
                h1 { (self.title) }
                (self.lead)
                @if let Some(wrong) = wrong { p .problem role="alert" { strong { "Not yet. " } (wrong) } }
                form .stack method="post" action=(self.action) {
                    (csrf_field(token))
                    (self.fields)
                    button type="submit" { (self.button) }
                }
                (self.instead)
            }
        }
    }
}

/// What makes a form one of this session's: a page of another site cannot know it.
pub fn csrf_field(token: &CsrfToken) -> Markup {
    html! { input type="hidden" name="csrf_token" value=(token); }
}

/// Where to go on when the form has been taken.
pub fn destination_field(to: Destination) -> Markup {
    html! { input type="hidden" name="to" value=(to.name()); }
}

pub fn name_field(value: &str) -> Markup {
    Text { name: "name", label: "Name", autocomplete: "username", value, hint: None, is_password: false }.show()
}

pub fn password_field() -> Markup {
    let (label, autocomplete) = ("Password", "current-password");
    Text { name: "password", label, autocomplete, value: "", hint: None, is_password: true }.show()
}

/// For one that is chosen here.
pub fn new_password_field(label: &str) -> Markup {
    let (autocomplete, hint) = ("new-password", Some(passwords::HINT));
    Text { name: "password", label, autocomplete, value: "", hint, is_password: true }.show()
}

/// A line of text to fill in, with its label.
struct Text<'a> {
    name: &'a str,
    label: &'a str,
    /// What browsers and password managers may fill in (WCAG 2.2 §1.3.5).
    autocomplete: &'a str,
    value: &'a str,
    hint: Option<&'a str>,
    is_password: bool,
}

impl Text<'_> {
    fn show(&self) -> Markup {
        let hint = format!("{}-hint", self.name);
        html! {
            div .field {
                label for=(self.name) { (self.label) }
                input #(self.name) name=(self.name) value=(self.value) autocomplete=(self.autocomplete) required
                    type=(if self.is_password { "password" } else { "text" })
                    aria-describedby=[self.hint.map(|_| &hint)]
                    autocapitalize="none" spellcheck="false";
                @if let Some(text) = self.hint { p .note #(hint) { (text) } }
            }
        }
    }
}
