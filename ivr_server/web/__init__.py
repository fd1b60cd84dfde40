"""What the service shows over HTTP on loopback: health now; metrics, API and pages later."""
