//! The parts that forms are made of.

use maud::{Markup, html};
use sessile::CsrfToken;

/// What makes a form one of this session's: a page of another site cannot know it.
pub fn csrf_field(token: &CsrfToken) -> Markup {
    html! { input type="hidden" name="csrf_token" value=(token); }
}

/// A line of text to fill in, with its label.
pub struct Text<'a> {
    pub name: &'a str,
    pub label: &'a str,
    /// What browsers and password managers may fill in (WCAG 2.2 §1.3.5).
    pub autocomplete: &'a str,
    pub value: &'a str,
    pub hint: Option<&'a str>,
    pub is_password: bool,
}

impl Text<'_> {
    pub fn show(&self) -> Markup {
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

/// What is wrong with the form, said once, before it (WCAG 2.2 §3.3.1).
pub fn problem(text: Option<&str>) -> Markup {
    html! {
        @if let Some(text) = text { p .problem role="alert" { strong { "Not yet. " } (text) } }
    }
}
