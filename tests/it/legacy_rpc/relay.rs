//! The bridge: blocks that a js-offs node asks us for are brought from elsewhere.
