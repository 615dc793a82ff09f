"""OpenSeeD (Zhang et al., ICCV 2023): objects and stuff by name, as boxes and masks."""
