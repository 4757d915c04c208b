//! `offswarm legacy peer`, `ask` and `id`, and a daemon that answers.
