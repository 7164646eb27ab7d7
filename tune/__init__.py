"""Search for recipes and ablations: trials of lisa's loop under Ray Tune."""
