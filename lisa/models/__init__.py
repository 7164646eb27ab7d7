"""Networks, one file each, built through timm's registry under the parameter cap."""
