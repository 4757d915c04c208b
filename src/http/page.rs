//! The web page, embedded in the program.
