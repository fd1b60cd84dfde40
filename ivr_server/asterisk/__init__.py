"""The only package that talks to Asterisk: ARI link, channels, AMI, configuration, process."""
