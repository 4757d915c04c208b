//! Who may ask: Host, Origin and token; and the headers that every answer carries.

mod token;

pub use token::Token;
