//! Berth's custom resources, one file a Kind, and every name that Kubernetes objects of ours carry.
