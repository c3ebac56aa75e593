//! What a Pod is made of, and what of it changes in place.
//!
//! A template is what the API server keeps of it (JSON), so that fields that are not known here are neither lost nor
//! overlooked: what is not known to change in place does not.
