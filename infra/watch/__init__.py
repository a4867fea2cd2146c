"""Watch what runs: servers, ingests, stores; say what is wrong; give it to Prometheus."""
