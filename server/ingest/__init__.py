"""The gRPC service: takes scenes in, hands policy and model out."""
