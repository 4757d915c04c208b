//! Who may ask, and how.
