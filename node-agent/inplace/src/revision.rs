//! What a template is called: a short hash of it, the same for the same template in whatever order its fields are.
